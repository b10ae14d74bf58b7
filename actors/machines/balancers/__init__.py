"""Which instance gets the next call. Pure and seeded; all of one shape, which `base.py` describes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Balancer as Balancer
from .chance import WeightedRandom as WeightedRandom
from .endpoint import Endpoint as Endpoint
from .least import LeastOutstanding as LeastOutstanding
from .maglev import Maglev as Maglev
from .p2c import PeakEwma as PeakEwma
from .ring import RingHash as RingHash
from .rotation import RoundRobin as RoundRobin
from .rotation import SmoothWeighted as SmoothWeighted

if TYPE_CHECKING:
    from collections.abc import Mapping

BALANCERS: Mapping[str, type[Balancer]] = {
    "p2c": PeakEwma,
    "least_outstanding": LeastOutstanding,
    "round_robin": RoundRobin,
    "weighted_round_robin": SmoothWeighted,
    "weighted_random": WeightedRandom,
    "ring_hash": RingHash,
    "maglev": Maglev,
}
"""By the names that a configuration calls them."""
