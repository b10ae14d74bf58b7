"""Who is picked, over the real fleet and roster: nobody who should not be, whatever comes in whatever order."""

from __future__ import annotations

import math
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import switchgear as sg
from switchgear.actors.events import InstanceEjected, InstanceReturned, PanicEntered, PanicLeft
from switchgear.actors.registry import InstanceSet
from switchgear.actors.service.fleet import Fleet, Memory
from switchgear.actors.service.roster import Roster
from switchgear.runtime import Watch

IDS = "abcdefgh"
HEALTHY, UNHEALTHY, UNKNOWN = sg.HealthStatus.HEALTHY, sg.HealthStatus.UNHEALTHY, sg.HealthStatus.UNKNOWN
instances = st.dictionaries(
    st.sampled_from(IDS),
    st.tuples(st.sampled_from([HEALTHY, HEALTHY, UNKNOWN, UNHEALTHY]), st.sampled_from([1.0, 1.0, 3.0, 0.0])),
)
BALANCERS = [
    "p2c",
    "least_outstanding",
    "round_robin",
    "weighted_round_robin",
    "weighted_random",
    "ring_hash",
    "maglev",
]


class RosterMachine(RuleBasedStateMachine):
    """What it knows of ejections is what the events say; all else it works out by itself."""

    @initialize(
        balancer=st.sampled_from(BALANCERS), threshold=st.sampled_from([0.0, 0.5, 0.5, 0.8]),
        cap=st.sampled_from([0.1, 0.5, 1.0]), slow=st.sampled_from([None, 20.0]), seed=st.integers(0, 9),
    )  # fmt: skip
    def start(self, balancer, threshold, cap, slow, seed):
        outlier = sg.OutlierConfig(
            consecutive_failures=2, failure_rate=None, success_rate_factor=None, max_ejected=cap, jitter=0.2
        )
        slow = None if balancer in ("ring_hash", "maglev") else slow
        self.config = sg.ServiceConfig(
            "svc", outlier=outlier, panic_threshold=threshold, slow_start=slow, balancer=balancer
        )
        self.now = 1000.0
        self.ejected = {}  # id -> when a trial may be made
        self.panic = False
        self.under_way = []
        self.rng = random.Random(seed)
        self.version = 0
        self.watch = Watch(InstanceSet("svc", 0, (), ()))
        self.memory = Memory()
        self.roster = Roster(self.config, "/services/svc", self.told, self.rng, self.now)
        self.fleets = []
        self.actor_starts()
        self.known = {}

    def told(self, event):
        match event:
            case InstanceEjected(instance=id, seconds=seconds):
                self.ejected[id] = self.now + seconds
            case InstanceReturned(instance=id):
                del self.ejected[id]
            case PanicEntered() | PanicLeft():
                assert isinstance(event, PanicEntered) is not self.panic
                self.panic = isinstance(event, PanicEntered)

    @rule()
    def actor_starts(self):
        """The first time, after a crash, or with another balancer: then calls under way go on with the old one."""
        fleet = Fleet(self.watch, self.config, self.memory, rng=self.rng, roster=self.roster, changed=self.changed)
        self.fleets = [*self.fleets[-1:], fleet]

    @property
    def fleet(self):
        return self.fleets[-1]

    def changed(self, _instances, in_use):
        self.in_use = in_use

    @rule(known=instances)
    def registry_says(self, known):
        self.known = known
        self.ejected = {name: at for name, at in self.ejected.items() if name in known}
        everybody = tuple(
            sg.ServiceInstance(name, "svc", endpoint=f"http://{name}.test", health=health, weight=weight)
            for name, (health, weight) in known.items()
        )
        routable = tuple(one for one in everybody if one.id in self.healthy)
        self.version += 1
        self.watch.set(InstanceSet("svc", self.version, everybody, routable))
        self.fleet.follow(self.now)

    @rule(data=st.data(), health=st.sampled_from([HEALTHY, UNHEALTHY]))
    def health_changes(self, data, health):
        if self.known:
            name = data.draw(st.sampled_from(sorted(self.known)))
            self.registry_says(self.known | {name: (health, self.known[name][1])})

    @rule(seconds=st.sampled_from([0.5, 5.0, 30.0, 40.0, 100.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @precondition(lambda self: any(at > self.now for at in self.ejected.values()))
    @rule()
    def time_passes_until_a_trial_is_due(self):
        self.now = min(at for at in self.ejected.values() if at > self.now)

    @rule(on=st.booleans())
    def ejection_is_switched(self, on):
        config = (
            self.config if on else sg.ServiceConfig("svc", outlier=None, panic_threshold=self.config.panic_threshold)
        )
        self.roster.tune(config, self.now)

    @property
    def weighty(self):
        return {name for name, (_, weight) in self.known.items() if weight > 0}

    @property
    def healthy(self):
        return {name for name in self.weighty if self.known[name][0] is not UNHEALTHY}

    @property
    def needed(self):
        return math.ceil(self.config.panic_threshold * len(self.weighty))

    def begin(self, avoid=(), key=None, fleet=None):
        fleet = fleet or self.fleet
        panicking = len(self.healthy) < self.needed
        may = self.weighty if panicking else self.healthy
        due = set() if panicking else {name for name in may if self.now >= self.ejected.get(name, math.inf)}
        try:
            endpoint, target = fleet.pick(self.now, avoid, key)
        except sg.NoHealthyInstances:
            assert not may
            return None
        if fleet is self.fleet:
            assert self.in_use == (may if panicking else may - set(self.ejected))
        name = endpoint.id
        assert target.host == f"{name}.test"
        assert name in may
        assert (name in due) == bool(due and not avoid)  # a trial is made as soon as it can be
        if not panicking and name in self.ejected:
            self.ejected[name] = self.now + self.config.outlier.ejection_time  # one trial, or a new one after that
        elif avoid and may - set(avoid) - set(self.ejected):
            assert name not in avoid
        if self.config.slow_start is None and name not in self.ejected:
            assert endpoint.weight == self.known[name][1]
        self.fleet.begin(endpoint, self.now)
        self.under_way.append((endpoint, self.now))
        return endpoint

    @rule(avoid=st.sets(st.sampled_from(IDS), max_size=3), key=st.sampled_from([None, "u1", "u2"]))
    def a_call_begins(self, avoid, key):
        self.begin(avoid, key)

    @rule()
    def an_old_call_is_retried(self):
        self.begin(fleet=self.fleets[0])

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), how=st.sampled_from([True, True, False, None]))
    def a_call_ends(self, data, how):
        self.end(data.draw(st.integers(0, len(self.under_way) - 1)), how)

    def end(self, n, how):
        endpoint, began = self.under_way.pop(n)
        self.fleet.end(endpoint, began, self.now, failed=how)
        if how is None and endpoint.id in self.ejected:
            self.ejected[endpoint.id] = min(self.ejected[endpoint.id], self.now)  # its trial may be made again

    @rule(bad=st.sets(st.sampled_from(IDS), max_size=4), n=st.integers(1, 30))
    def quick_calls_come(self, bad, n):
        for _ in range(n):
            endpoint = self.begin()
            if endpoint is not None:
                self.end(-1, endpoint.id in bad)

    @invariant()
    def enough_are_in_use(self):
        if hasattr(self, "known"):
            self.fleet.follow(self.now)
            assert self.panic == (len(self.healthy) < self.needed)
            left = self.healthy - set(self.ejected)
            assert len(left) >= min(len(self.healthy), max(1, self.needed))
            assert set(self.roster.status(self.now).ejected) == set(self.ejected)


TestRosterMachine = RosterMachine.TestCase
TestRosterMachine.settings = settings(max_examples=100, stateful_step_count=40)
