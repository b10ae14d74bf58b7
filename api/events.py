"""Everything that `Runtime.events` can say: what becomes of services and their instances, and of the actors themselves.

    async with runtime.events() as happening:
        async for event in happening:
            if isinstance(event, sg.events.BreakerChanged): ...

They have a namespace of their own, since ``ActorCrashed`` is an event here and an error of a call in `switchgear`.
"""

from switchgear.actors.events import (
    AdvertFailed,
    AdvertMade,
    BreakerChanged,
    CallsPaused,
    ConcurrencyChanged,
    InstanceDeregistered,
    InstanceEjected,
    InstanceHealthChanged,
    InstanceRegistered,
    InstanceReturned,
    ItemDead,
    ItemDelivered,
    ItemQueued,
    LeaseExpired,
    PanicEntered,
    PanicLeft,
    QueueFailed,
    RateChanged,
    SelfPreservation,
    SourceDown,
    SourceRecovered,
    TokenRefreshed,
    TokenRefreshFailed,
    VersionsUnreadable,
)
from switchgear.runtime import Event
from switchgear.runtime.events import (
    ActorCrashed,
    ActorRestarting,
    ActorStarted,
    ActorStopped,
    ActorStuck,
    DeadLetter,
    EventsLost,
    LoopBlocked,
    StopFailed,
)

__all__ = [
    "ActorCrashed",
    "ActorRestarting",
    "ActorStarted",
    "ActorStopped",
    "ActorStuck",
    "AdvertFailed",
    "AdvertMade",
    "BreakerChanged",
    "CallsPaused",
    "ConcurrencyChanged",
    "DeadLetter",
    "Event",
    "EventsLost",
    "InstanceDeregistered",
    "InstanceEjected",
    "InstanceHealthChanged",
    "InstanceRegistered",
    "InstanceReturned",
    "ItemDead",
    "ItemDelivered",
    "ItemQueued",
    "LeaseExpired",
    "LoopBlocked",
    "PanicEntered",
    "PanicLeft",
    "QueueFailed",
    "RateChanged",
    "SelfPreservation",
    "SourceDown",
    "SourceRecovered",
    "StopFailed",
    "TokenRefreshFailed",
    "TokenRefreshed",
    "VersionsUnreadable",
]
