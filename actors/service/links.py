"""URLs that a service itself has given: in a Link header, a Location, a field of a body. They are not ours to trust.

One of the service's own origin and prefix becomes a path, which is called like any other. Another host has to be one of
``allowed_hosts``. Everything else is refused, before anything is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InvalidRequest
from ..secrecy import sealed
from .abroad import Place, place
from .target import Target, build_target

if TYPE_CHECKING:
    from .state import ServiceState


def destination(state: ServiceState, url: str, base: str) -> str | Place | InvalidRequest:
    """Where a URL leads: a path of the service's own, or a place at another host.

    If it is none of these the error is returned, to be raised where no frame has the URL among its locals: whoever has
    one that is signed may use it.
    """
    try:
        if not isinstance(url, str):
            raise InvalidRequest(f"a URL is text, not a {type(url).__name__}")
        path = _own_path(state, url, build_target(base, None))
    except InvalidRequest as error:
        error.service = state.name
        return sealed(error)
    if path is not None:
        return path
    # Another host's URL is absolute, or begins with "//": there is nothing of ours to resolve it against.
    return place(url, "https:", frozenset(state.config.value.allowed_hosts)) or _elsewhere(state)


def _own_path(state: ServiceState, url: str, base: str) -> str | None:
    """The path of a URL below one of the service's instances; None if it is below none of them."""
    instances = () if state.instances is None else state.instances.value.instances
    targets = [Target.parse(one.endpoint) for one in instances]
    return next((path for one in targets if (path := one.relative(url, base)) is not None), None)


def _elsewhere(state: ServiceState) -> InvalidRequest:
    return InvalidRequest(
        "this URL is none of the service's: its origin or prefix is another. If the service may send us to that host, "
        "name it in allowed_hosts (https, GET and HEAD only), or configure it as a service of its own",
        service=state.name,
    )
