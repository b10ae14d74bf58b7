"""A call as its caller wrote it, made into the `Request` that the actor takes: checked, quoted, with its times."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from ..errors import InvalidRequest
from ..secrecy import sealed
from . import arguments
from .abroad import Place
from .decode import check_type
from .messages import Progress, Request
from .target import build_target, check_headers, check_method, request_id_of

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

    from .arguments import Content, Priority
    from .messages import ServiceResponse
    from .state import ServiceState
    from .stream import StreamResponse
    from .target import Headers
    from .template import PathValues


def build_request(
    state: ServiceState,
    rng: random.Random,
    method: str,
    template: str | Place,
    *,
    type_: Any,
    path: PathValues | None,
    params: Mapping[str, Any] | None,
    json: Any,
    content: Content,
    headers: Headers | None,
    timeout: float | None,
    idempotency_key: str | None,
    affinity: str | None,
    weight: float,
    priority: Priority,
    stream: StreamResponse | None = None,
) -> Request | InvalidRequest:
    """See `Service.request` for the arguments.

    What is wrong with them is returned, to be raised where no frame has them among its locals: they may be credentials.
    """
    request_id = None
    try:
        request_id = request_id_of(headers) or f"{rng.getrandbits(128):032x}"
        checked = check_headers(headers)
        body, extra = arguments.body_of(json, content, checked)
        check_type(type_)
        now = trio.current_time()
        total = state.config.value.timeout.total if timeout is None else arguments.seconds(timeout)
        method = check_method(method)
        operation = beyond = None
        if isinstance(template, Place):
            beyond, target = template, _url(template, params, path)
        else:
            operation, target = None if path is None else template, build_target(template, params, path)
        return Request(
            method=method,
            target=target,
            request_id=request_id,
            deadline=now + total,
            started=now,
            progress=Progress(),
            headers=checked + extra + arguments.for_a_part(checked),
            body=body,
            type=type_,
            idempotency_key=None if idempotency_key is None else arguments.header_text(idempotency_key),
            affinity=affinity,
            weight=arguments.tokens(weight),
            priority=arguments.rank(priority),
            stream=stream,
            template=operation,
            beyond=beyond,
        )
    except InvalidRequest as error:
        error.service, error.request_id = state.name, request_id
        return sealed(error)


async def refuse(error: InvalidRequest) -> ServiceResponse[Any]:
    """What comes of a call that cannot be made."""
    raise error


def _url(there: Place, params: Mapping[str, Any] | None, path: PathValues | None) -> str:
    if params is not None or path is not None:
        raise InvalidRequest("a URL of another host is taken as it is: it has no params and no path values")
    return there.url
