"""Which instance gets the next call. Pure and seeded; all of one shape, which `endpoint.py` describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chance import WeightedRandom as WeightedRandom
from .endpoint import Balancer as Balancer
from .endpoint import Endpoint as Endpoint
from .p2c import PowerOfTwo as PowerOfTwo
from .rotation import RoundRobin as RoundRobin

if TYPE_CHECKING:
    from collections.abc import Mapping

BALANCERS: Mapping[str, type[Balancer]] = {
    "p2c": PowerOfTwo,
    "round_robin": RoundRobin,
    "weighted_random": WeightedRandom,
}
"""By the names that a configuration calls them."""
