"""The demo's callers: a few tasks for each service that keep calling it, and say what they got."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from .services import Account, Charge, Invoice, Quote, Results

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..service import Service
    from .tally import Tally

_WORDS = ("relay", "breaker", "busbar", "fuse", "feeder", "isolator")


@dataclass(frozen=True, slots=True)
class Errand:
    """What the callers of one service do. ``call`` makes the arguments of ``Service.try_request``."""

    service: str
    callers: int
    pause: float
    """Seconds between a caller's calls, on average."""
    call: Callable[[random.Random], tuple[str, str, dict[str, Any]]]


def _account(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    return "GET", f"/accounts/{rng.randrange(1000)}", {"type": Account}


def _search(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    return "GET", "/search", {"params": {"q": rng.choice(_WORDS)}, "type": Results}


def _charge(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    # The key is what allows a charge to be tried twice.
    key = f"order-{rng.getrandbits(64):016x}"
    return "POST", "/charges", {"json": {"amount": rng.randrange(1, 9999)}, "idempotency_key": key, "type": Charge}


def _quote(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    return "GET", f"/quotes/{rng.choice('ABCDE')}", {"type": Quote}


def _invoice(rng: random.Random) -> tuple[str, str, dict[str, Any]]:
    return "GET", f"/invoices/{rng.randrange(10)}", {"type": Invoice}


ERRANDS = (
    Errand("accounts", 4, 0.05, _account),
    Errand("search", 6, 0.05, _search),
    Errand("payments", 4, 0.05, _charge),
    Errand("partner", 12, 0.4, _quote),
    Errand("legacy", 4, 0.1, _invoice),
)


async def drive(services: Mapping[str, Service], tallies: Mapping[str, Tally], seed: int) -> None:
    """Call all services until cancelled. Calls under way then are not counted."""
    async with trio.open_nursery() as nursery:
        for errand in ERRANDS:
            for number in range(errand.callers):
                rng = random.Random(f"{seed}/{errand.service}/{number}")
                nursery.start_soon(_keep_calling, services[errand.service], errand, tallies[errand.service], rng)


async def _keep_calling(service: Service, errand: Errand, tally: Tally, rng: random.Random) -> None:
    while True:
        await trio.sleep(rng.uniform(0, 2 * errand.pause))
        method, path, options = errand.call(rng)
        tally.count(await service.try_request(method, path, **options))
