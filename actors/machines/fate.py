"""What becomes of an instance: a table of who names it and what its health checks say. Pure, and all of it is here.

The rows are Envoy's ("On eventually consistent service discovery"): what a source no longer names, but what answers its
health checks, goes on getting calls. Sources lose whole sets (a name server that answers with nothing, a file that is
half written), instances that answer their checks are there. Where nothing is checked the health is unknown, so what is
absent goes at once; so does what a program or an operator takes away in so many words, which is not asked here.
"""

from __future__ import annotations

import enum

from ..instance import HealthStatus


class Fate(enum.Enum):
    """What is done with an instance."""

    ROUTE = "it may get calls"
    KEEP = "it gets no calls, and is checked on"
    DELETE = "it goes"


FATES: dict[tuple[bool, HealthStatus], Fate] = {
    # named by anybody, health
    (True, HealthStatus.HEALTHY): Fate.ROUTE,
    (True, HealthStatus.UNKNOWN): Fate.ROUTE,
    (True, HealthStatus.UNHEALTHY): Fate.KEEP,
    (False, HealthStatus.HEALTHY): Fate.ROUTE,
    (False, HealthStatus.UNKNOWN): Fate.DELETE,
    (False, HealthStatus.UNHEALTHY): Fate.DELETE,
}
