"""The kernel: actors, mailboxes, supervision, deadlines. It knows nothing of HTTP.

Open a tree, hang an actor into it, ask it::

    async with open_system() as system:
        ref = await system.start(MyActor, "mine")
        reply = await ref.ask(Question(42), timeout=1.0)
"""

from .actor import Actor as Actor
from .actor import Context as Context
from .backoff import Backoff as Backoff
from .errors import ActorCrashed as ActorCrashed
from .errors import ActorError as ActorError
from .errors import ActorStopped as ActorStopped
from .errors import AskLoop as AskLoop
from .errors import AskTimeout as AskTimeout
from .errors import MailboxFull as MailboxFull
from .errors import MailboxOverdue as MailboxOverdue
from .errors import StartFailed as StartFailed
from .errors import SupervisorGaveUp as SupervisorGaveUp
from .events import Event as Event
from .events import EventBus as EventBus
from .expiry import Expiries as Expiries
from .expiry import Expiring as Expiring
from .info import ActorInfo as ActorInfo
from .info import State as State
from .mailbox import MailboxStatistics as MailboxStatistics
from .mailbox import WhenFull as WhenFull
from .patience import QueueRule as QueueRule
from .policy import Policy as Policy
from .ref import Ref as Ref
from .system import System as System
from .system import open_system as open_system
from .watch import Watch as Watch
from .words import Crash as Crash
from .words import Intensity as Intensity
from .words import Restart as Restart
from .words import Strategy as Strategy
