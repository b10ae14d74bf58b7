"""Choosing among the instances of a service: by the range of their versions, and by their tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from ..config.check import shown
from ..errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..instance import ServiceInstance


def versions(text: Any) -> SpecifierSet:
    """A range as ``>=1.2,<2`` (PEP 440). Raises InvalidRequest."""
    try:
        return SpecifierSet(text if isinstance(text, str) else "not text")
    except InvalidSpecifier:
        raise InvalidRequest(
            f'version must be a range such as ">=1.2,<2", "~=1.4" or "==1.*", not {shown(text)}'
        ) from None


def tagged(instances: Iterable[ServiceInstance], tags: Any) -> list[ServiceInstance]:
    """Those whose metadata has all of these. Raises InvalidRequest."""
    if not isinstance(tags, Mapping):
        raise InvalidRequest(f'tags must be a mapping such as {{"region": "eu"}}, not {shown(tags)}')
    return [one for one in instances if all(one.metadata.get(key) == value for key, value in tags.items())]


def within(
    instances: Iterable[ServiceInstance], wanted: SpecifierSet
) -> tuple[list[ServiceInstance], list[ServiceInstance]]:
    """Those whose version is in the range, and those who have none that can be compared.

    A pre-release is in a range that itself names one, and in no other: who asks for <2 does not want 2.0rc1.
    """
    found, unreadable = [], []
    for one in instances:
        try:
            version = Version(one.version)
        except InvalidVersion:
            unreadable.append(one)
            continue
        if wanted.contains(version, prereleases=bool(wanted.prereleases)):
            found.append(one)
    return found, unreadable
