"""What the kernel's errors are to who calls a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from switchgear.runtime import ActorCrashed, ActorError, AskLoop, AskTimeout, MailboxFull, MailboxOverdue

from .. import errors
from ..secrecy.retold import Retold

if TYPE_CHECKING:
    from .messages import Request
    from .state import ServiceState


def failure_of(error: ActorError, request: Request, state: ServiceState) -> errors.ServiceError:
    """The call's error, where its ask has ended of this one; counted, as the actor cannot do it."""
    failure = _failure_of(error, request, state)
    state.refused(failure.code.value, request)
    failure.service, failure.request_id = state.name, request.request_id
    failure.attempts = request.progress.attempts
    return failure


def _failure_of(error: ActorError, request: Request, state: ServiceState) -> errors.ServiceError:
    failure: errors.ServiceError
    why = error.args[1]
    match error:
        case AskTimeout():
            failure = errors.CallTimeout(f"no answer before the call's timeout ({error.where})")
            failure.__cause__ = request.progress.take()
            return failure
        case MailboxFull():
            return errors.Overloaded(f"the bulkhead is full: {why}")
        case MailboxOverdue():
            return errors.Overloaded(f"shed from the bulkhead's queue: {why}")
        case ActorCrashed():
            failure = errors.ActorCrashed("the service's actor crashed with this call in hand")
            failure.__cause__ = Retold(error, state.known.scrub)
            return failure
        case AskLoop():
            return errors.InvalidRequest(f"a call from within this service's own actor: {why}")
    return errors.ShuttingDown(f"the service is gone: {why}")
