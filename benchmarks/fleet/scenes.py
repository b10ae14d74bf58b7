"""What is wrong with the fleets, how they are called, and what is promised of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import switchgear as sg
from switchgear.actors.events import InstanceHealthChanged

from .run import Arrivals, Course, Servers, by_chance, run, steady
from .servers import Roomy, Server, Slotted, normal

Verdict = tuple[str, bool]

_ALONE: dict[str, Any] = {  # so that balancers are compared, and nothing that would make up for a bad one
    "retry": sg.RetryPolicy(max_attempts=1),
    "breaker": sg.BreakerConfig(enabled=False),
    "outlier": None,
}


@dataclass(frozen=True)
class Scene:
    """One fleet, and the services that call it in turn."""

    name: str
    title: str
    servers: Servers
    arrivals: Arrivals
    variants: Mapping[str, Mapping[str, Any]]
    """Settings of the service that differ from the defaults."""
    promises: Callable[[Mapping[str, Course]], Iterator[Verdict]]
    within: float = 60.0
    """Seconds within which an answer is a success."""
    clients: int = 1
    timeout: float = 60.0
    weights: Mapping[str, Sequence[float]] | None = None
    """Of the servers, in the variants that are told them."""

    def play(self, seed: int, progress: Callable[[str], None]) -> dict[str, Course]:
        """All variants, with the same calls."""
        courses = {}
        for name, options in self.variants.items():
            progress(f"{self.name}: {name}")
            weights = (self.weights or {}).get(name, ())
            courses[name] = run(self.servers, self.arrivals, options, seed, self.clients, self.timeout, weights)
        return courses


# ---- one slow server: Linkerd's comparison

SLOW_FROM, SLOW_TO = 15.0, 45.0
DEFAULT, HEDGED, ROUND, LEAST = "defaults", "defaults and hedging", "round robin", "least outstanding"


def slow_one(rng: random.Random) -> dict[str, Server]:
    """Eleven that answer within N(167 ms, 5 ms), but one that takes 2 s for half a minute."""

    def well(_: float) -> tuple[float, int]:
        return normal(rng, 0.167, 0.005), 200

    def slow(now: float) -> tuple[float, int]:
        return (2.0, 200) if SLOW_FROM <= now < SLOW_TO else well(now)

    return {"s0.test": Roomy(slow)} | {f"s{number}.test": Roomy(well) for number in range(1, 11)}


def _slow_promises(courses: Mapping[str, Course]) -> Iterator[Verdict]:
    share = {name: 100 * course.answered(within=1.0) for name, course in courses.items()}
    # What Linkerd published for two of them says whether this is the comparison that it made.
    yield f"round robin is as Linkerd has it: {share[ROUND]:.2f} %, 95.3 to 95.6", 95.3 <= share[ROUND] <= 95.6
    yield f"least outstanding too: {share[LEAST]:.2f} %, at least 99.4", share[LEAST] >= 99.4
    yield f"defaults: {share[DEFAULT]:.3f} % within a second, at least 99.92", share[DEFAULT] >= 99.92
    yield f"with hedging: {share[HEDGED]:.3f} %, at least 99.98", share[HEDGED] >= 99.98


# ---- one that fails fast


def black_hole(rng: random.Random) -> dict[str, Server]:
    """One of ten fails within 2 ms, where the others take 50 ms: whoever goes by latency alone falls into it."""

    def well(_: float) -> tuple[float, int]:
        return normal(rng, 0.05, 0.005), 200

    return {"s0.test": Roomy(lambda _: (0.002, 503))} | {f"s{number}.test": Roomy(well) for number in range(1, 10)}


NO_RETRIES, BALANCER_ALONE = "defaults without retries", "the balancer alone"


def _black_hole_promises(courses: Mapping[str, Course]) -> Iterator[Verdict]:
    for name in (DEFAULT, NO_RETRIES, BALANCER_ALONE):
        failed = 100 * (1 - courses[name].answered())
        yield f"{name}: {failed:.3f} % of the calls fail, at most 0.1", failed <= 0.1


# ---- more work than the slow half can do

SLOTS, WORK = 4, 0.08
SPEEDS = [1.0] * 10 + [0.5] * 10
MEAN = 1.0833 * WORK  # of the normal distribution with this mean and deviation, its negative part at zero
CHANCE, SMOOTH, TOLD = "weighted by chance", "smooth weighted round robin", "defaults, told the speeds too"


def overloaded(rng: random.Random) -> dict[str, Server]:
    """Twenty of four slots each, half of them at half the speed, and work that varies as much as it is long."""

    def work(speed: float) -> Callable[[], float]:
        return lambda: normal(rng, WORK, WORK) / speed

    return {f"s{number}.test": Slotted(SLOTS, work(speed)) for number, speed in enumerate(SPEEDS)}


def _overload_promises(most: float, courses: Mapping[str, Course]) -> Iterator[Verdict]:
    ours, chance, smooth = (1000 * courses[name].quantile(0.99) for name in (DEFAULT, CHANCE, SMOOTH))
    yield f"p99 {ours:.0f} ms, at most {most:g} of {CHANCE}: {chance:.0f} ms", ours <= most * chance
    yield f"p99 at most that of {SMOOTH}, which is told what ours finds out: {smooth:.0f} ms", ours <= smooth


def _overload(name: str, load: float, most: float) -> Scene:
    """At so much of what the fleet can do; the p99 of the defaults at most so much of that of weights by chance."""
    variants = {
        CHANCE: {"balancer": "weighted_random", **_ALONE},
        SMOOTH: {"balancer": "weighted_round_robin", **_ALONE},
        LEAST: {"balancer": "least_outstanding", **_ALONE},
        DEFAULT: _ALONE,
        TOLD: _ALONE,
    }
    return Scene(
        name,
        f"20 servers, half at half speed, 10 clients, at {load:g} of what they can",
        overloaded,
        by_chance(load * SLOTS * sum(SPEEDS) / MEAN, 40),
        variants,
        partial(_overload_promises, most),
        clients=10,
        timeout=5.0,
        weights=dict.fromkeys((CHANCE, SMOOTH, TOLD), SPEEDS),
    )


# ---- servers that come and go

FLAPPING = "active checks each second"


def flapping(rng: random.Random) -> dict[str, Server]:
    """One of ten is up for a second and down for one."""

    def well(_: float) -> tuple[float, int]:
        return normal(rng, 0.05, 0.005), 200

    def flaps(now: float) -> tuple[float, int]:
        return well(now) if int(now) % 2 == 0 else (0.002, 503)

    return {"s0.test": Roomy(flaps)} | {f"s{number}.test": Roomy(well) for number in range(1, 10)}


def _flapping_promises(courses: Mapping[str, Course]) -> Iterator[Verdict]:
    course = courses[FLAPPING]
    changes = course.of(InstanceHealthChanged)
    yield f"{changes} changes of health in 60 s, at most one a second", changes <= 60
    for name, one in courses.items():
        yield f"{name}: {100 * one.answered():.2f} % of the calls succeed, at least 99.9", one.answered() >= 0.999


def half_down(rng: random.Random) -> dict[str, Server]:
    """Five of ten refuse everything from the tenth second on."""

    def well(_: float) -> tuple[float, int]:
        return normal(rng, 0.05, 0.005), 200

    def fails(now: float) -> tuple[float, int]:
        return well(now) if now < 10 else (0.002, 503)

    return {f"s{number}.test": Roomy(fails if number < 5 else well) for number in range(10)}


def _half_down_promises(courses: Mapping[str, Course]) -> Iterator[Verdict]:
    for name, course in courses.items():
        if name == ONE_BREAKER:  # which is there to show why it is not the default
            continue
        yield f"{name}: {100 * course.answered():.2f} % of the calls succeed, at least 99.5", course.answered() >= 0.995


ONE_BREAKER = "one breaker for all of them"
CHECKED = {"health_check": sg.HealthCheckConfig(interval=1.0, timeout=0.5)}
ONCE = {"retry": sg.RetryPolicy(max_attempts=1)}

SCENES = [
    Scene(
        "slow",
        "11 servers, 1,000 calls a second, one takes 2 s from 15 to 45 s",
        slow_one,
        steady(1000, 60),
        {
            ROUND: {"balancer": "round_robin"},
            LEAST: {"balancer": "least_outstanding"},
            DEFAULT: {},
            HEDGED: {"hedge": sg.HedgeConfig()},
        },
        _slow_promises,
        within=1.0,
    ),
    Scene(
        "hole",
        "10 servers, 500 calls a second, one fails within 2 ms",
        black_hole,
        by_chance(500, 60),
        {
            ROUND: {"balancer": "round_robin", **_ALONE},
            BALANCER_ALONE: _ALONE,
            NO_RETRIES: ONCE,
            DEFAULT: {},
        },
        _black_hole_promises,
    ),
    _overload("busy", 0.9, most=0.55),
    _overload("overload", 0.97, most=0.5),
    Scene(
        "flapping",
        "10 servers, 200 calls a second, one is up for a second and down for one",
        flapping,
        by_chance(200, 60),
        {DEFAULT: {}, FLAPPING: CHECKED},
        _flapping_promises,
    ),
    Scene(
        "half",
        "10 servers, 200 calls a second, five refuse everything from 10 s on",
        half_down,
        by_chance(200, 60),
        {
            ONE_BREAKER: {"breaker": sg.BreakerConfig(scope="service")},
            NO_RETRIES: ONCE,
            DEFAULT: {},
            FLAPPING: CHECKED,
        },
        _half_down_promises,
    ),
]
