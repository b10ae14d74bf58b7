"""What a caller gets when the service fails: the fallbacks of the configuration, in order, the first that answers.

They run in the caller's task and not in the actor, so that they also answer when the actor is full, crashing or gone,
and so that waiting for an alternative service holds no place in this one's bulkhead.
"""

from __future__ import annotations

import copy
import inspect
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from ..config import CacheFallback, DefaultFallback, DegradeFallback, QueueFallback
from ..errors import ErrorCode, FallbackFailed, ServiceError
from .decode import decode
from .messages import FailedCall, Progress, ServiceResponse
from .upload import Upload

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..config import AlternativeFallback, Fallback
    from .cache import Entry
    from .messages import Request
    from .state import ServiceState

_NEVER = (ErrorCode.INVALID_REQUEST, ErrorCode.INVALID_CONFIG, ErrorCode.UNKNOWN_SERVICE)


async def fall_back(
    request: Request,
    error: ServiceError,
    state: ServiceState,
    elsewhere: Callable[[str, Request], Awaitable[ServiceResponse[Any]]],
) -> ServiceResponse[Any]:
    """The answer of the first fallback that applies to ``error`` and has one.

    Args:
        request: the call that failed.
        error: what it failed of.
        state: of the service that failed.
        elsewhere: asks another service, by name.

    Raises:
        ServiceError: ``error`` itself if no fallback answers, with the errors of those that failed in
            ``fallback_errors``, and as notes.
    """
    for fallback in state.config.value.fallbacks:
        try:
            if not _applies(fallback, error):
                continue
            response = await _try(fallback, request, error, state, elsewhere)
        except ServiceError as failed:
            error.add_note(f"fallback {fallback.kind!r} failed: {failed}")
            error.fallback_errors += (failed,)
            continue
        if response is not None:
            state.meter.fell_back(response.source)
            return response
        error.add_note(f"fallback {fallback.kind!r} had no answer")
    raise error


def _applies(fallback: Fallback, error: ServiceError) -> bool:
    if error.code not in fallback.on if fallback.on else error.code in _NEVER:
        return False
    if fallback.statuses:
        status = getattr(error, "status", None)
        if status is None or (status not in fallback.statuses and f"{status // 100}xx" not in fallback.statuses):
            return False
    if fallback.when is None:
        return True
    try:
        return bool(fallback.when(error))
    except Exception as failed:
        raise FallbackFailed(f"its condition raised {type(failed).__name__}") from failed


async def _try(
    fallback: Fallback,
    request: Request,
    error: ServiceError,
    state: ServiceState,
    elsewhere: Callable[[str, Request], Awaitable[ServiceResponse[Any]]],
) -> ServiceResponse[Any] | None:
    if isinstance(fallback, CacheFallback):
        return _from_cache(fallback, request, error, state)
    if isinstance(fallback, DefaultFallback):
        return _answer(request, error, data=_default(fallback.value, request.type), source="default", stale=False)
    if isinstance(fallback, DegradeFallback):
        return _answer(request, error, data=await _degraded(fallback, request, error), source="degraded", stale=False)
    if isinstance(fallback, QueueFallback):
        assert state.queue is not None  # noqa: S101 - the configuration sees to it
        await state.queue(state.name, request, error)
        return _answer(request, error, data=None, source="queued", stale=False)
    if isinstance(request.body, Upload) and request.body.begun:
        return None  # what was to be sent has been sent
    return await _alternative(fallback, request, error, elsewhere)


def _from_cache(
    fallback: CacheFallback, request: Request, error: ServiceError, state: ServiceState
) -> ServiceResponse[Any] | None:
    if state.cache is None:
        return None
    now = trio.current_time()
    entry = state.cache.get(request, fallback.max_age, now, strict=fallback.strict)
    return None if entry is None else _cached(entry, request, error, now)


async def fresh_answer(request: Request, state: ServiceState) -> ServiceResponse[Any] | None:
    """An answer that is kept and fresh, where that is wanted: no call is made for it."""
    fallback = state.fresh_from
    if fallback is None or state.cache is None:
        return None
    now = trio.current_time()
    entry = state.cache.fresh(request, fallback.max_age, now)
    if entry is None:
        return None
    try:
        answer = _cached(entry, request, None, now)
    except ServiceError:  # it was another type that it could be decoded into
        return None
    await trio.lowlevel.checkpoint()
    return answer


def _cached(entry: Entry, request: Request, error: ServiceError | None, now: float) -> ServiceResponse[Any]:
    reply = entry.reply
    return _answer(
        request,
        error,
        data=None if request.method == "HEAD" else decode(reply, request.type),
        source="cache",
        stale=not entry.is_fresh(now),
        status=reply.status,
        headers=reply.headers,
    )


def _default(value: Any, type_: Any) -> Any:
    """A value of its own for each caller: one that changes what it got must not change what the next one gets."""
    try:
        return copy.deepcopy(value if type_ is None or type_ is bytes else msgspec.convert(value, type_))
    except Exception as failed:  # msgspec.ValidationError, or what the type's own code raises
        raise FallbackFailed(f"the default cannot be given: {type(failed).__name__}: {failed}") from failed


async def _degraded(fallback: DegradeFallback, request: Request, error: ServiceError) -> Any:
    """What the function makes of it, as the type that the caller wants."""
    call = FailedCall(
        method=request.method,
        target=request.target,
        headers=request.headers,
        body=request.body if isinstance(request.body, bytes) else b"",
        type=request.type,
        request_id=request.request_id,
        idempotency_key=request.idempotency_key,
        attempts=request.progress.attempts,
    )
    with trio.move_on_after(fallback.timeout) as scope:
        try:
            data = fallback.function(error, call)
            if inspect.isawaitable(data):
                data = await data
            return data if request.type is None or request.type is bytes else msgspec.convert(data, request.type)
        except Exception as failed:
            raise FallbackFailed(f"the function raised {type(failed).__name__}") from failed
    assert scope.cancelled_caught  # noqa: S101 - there is no other way here
    raise FallbackFailed(f"the function took longer than {fallback.timeout:g} s")


async def _alternative(
    fallback: AlternativeFallback,
    request: Request,
    error: ServiceError,
    elsewhere: Callable[[str, Request], Awaitable[ServiceResponse[Any]]],
) -> ServiceResponse[Any]:
    try:
        # With a notebook of its own: the other service has not been tried yet, and its attempts are not this one's.
        # And of weight 1: what a call weighs is said in the tokens of this service's limit.
        other = msgspec.structs.replace(request, progress=Progress(), weight=1.0)
        answer = await elsewhere(fallback.service, other)
    except ServiceError as failed:
        raise FallbackFailed(failed.message, service=fallback.service) from failed
    return _answer(
        request,
        error,
        data=answer.data,
        source="queued" if answer.source == "queued" else "alternative",
        stale=answer.stale,
        status=answer.status,
        headers=answer.headers,
    )


def _answer(request: Request, error: ServiceError | None, **fields: Any) -> ServiceResponse[Any]:
    return ServiceResponse(
        success=True,
        request_id=request.request_id,
        attempts=request.progress.attempts,
        elapsed=trio.current_time() - request.started,
        error=error,
        **fields,
    )
