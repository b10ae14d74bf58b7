"""How anything is measured here: every contender in every round of one run, in an order shuffled anew each round.

Machines drift (clock speed, other work), so figures of separate runs are not comparable; only contenders that took
turns within one run are, by their ratio. A contender is a plain function that makes one sample,
because some run trio, some asyncio and some threads. What a benchmark is *about* is in the file of its name.
"""

from __future__ import annotations

import gc
import importlib.metadata
import logging
import random
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

Sample = Mapping[str, float]
"""One measurement: metric -> value, in the metric's unit."""


@dataclass(frozen=True)
class Contender:
    """One way to do the job. ``needs`` are the distributions that it uses, ``extra`` the one of ours that has them."""

    name: str
    measure: Callable[[], Sample]
    needs: str | tuple[str, ...] | None = None
    extra: str = "bench"

    def absent(self) -> str | None:
        """Why it cannot run here, or None."""
        for package in (self.needs,) if isinstance(self.needs, str) else self.needs or ():
            try:
                importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                return f"needs {package}: pip install '.[{self.extra}]'"
        return None


@dataclass(frozen=True)
class Metric:
    """What is measured, and its unit. Less is better, unless ``more`` is."""

    name: str
    unit: str
    more: bool = False


@dataclass(frozen=True)
class Promise:
    """A bound that the project claims for one contender: upper (``most``) or lower (``least``).

    ``to`` bounds the ratio to another contender: the median over the rounds of the ratio within a round. Without it the
    bound is on the value: on its worst sample if ``worst`` (of an upper bound), else on the median.
    """

    contender: str
    metric: str
    most: float | None = None
    least: float | None = None
    to: str | None = None
    worst: bool = False
    timing: bool = True
    """Depends on how fast things run: not judged in a quick run, which is too short for that."""
    stretch: bool = False
    """More than is claimed: said, and no failure if it is not reached."""


@dataclass(frozen=True)
class Scenario:
    """One table: contenders that do the same job. The first metric is the one that ratios and the picture show."""

    name: str
    metrics: Sequence[Metric]
    contenders: Sequence[Contender]
    reference: str
    promises: Sequence[Promise] = ()
    curve: str = ""
    """Tables with the same name here are points of one curve for each contender..."""
    at: int = 0
    """...of which this is where this one is."""


@dataclass
class Series:
    """All samples of one contender, one a round; or why there are none."""

    contender: str
    samples: list[Sample] = field(default_factory=list)
    absent: str | None = None

    def values(self, metric: str) -> list[float]:
        """One value a round, in the order of the rounds."""
        return [sample[metric] for sample in self.samples if metric in sample]

    def median(self, metric: str) -> float | None:
        """The middle value, or None if there is none."""
        values = self.values(metric)
        return statistics.median(values) if values else None

    def quartiles(self, metric: str) -> tuple[float, float] | None:
        """The first and the third quartile: half of all samples lie between them."""
        values = self.values(metric)
        if len(values) < 2:
            return (values[0], values[0]) if values else None
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return low, high

    def ratio(self, metric: str, reference: Series) -> float | None:
        """Median of the ratios within each round: what drifts from round to round falls out."""
        pairs = zip(self.values(metric), reference.values(metric), strict=False)
        ratios = [mine / theirs for mine, theirs in pairs if theirs]
        return statistics.median(ratios) if ratios else None


@dataclass(frozen=True)
class Verdict:
    """A promise, and what became of it. ``value`` is None where the contender did not run."""

    promise: Promise
    value: float | None

    @property
    def kept(self) -> bool:
        """It ran and stayed within the bound."""
        if self.value is None:
            return False
        most, least = self.promise.most, self.promise.least
        return (most is None or self.value <= most) and (least is None or self.value >= least)

    @property
    def passed(self) -> bool:
        """It is kept, or was none."""
        return self.kept or self.promise.stretch


@dataclass(frozen=True)
class Result:
    """One scenario, measured."""

    scenario: Scenario
    series: Mapping[str, Series]

    def verdicts(self, *, quick: bool) -> Iterator[Verdict]:
        """What became of each promise that this run can judge."""
        for promise in self.scenario.promises:
            if quick and promise.timing:
                continue
            series = self.series[promise.contender]
            if promise.to is not None:
                yield Verdict(promise, series.ratio(promise.metric, self.series[promise.to]))
            elif promise.worst:
                yield Verdict(promise, max(series.values(promise.metric), default=None))
            else:
                yield Verdict(promise, series.median(promise.metric))


def run(scenario: Scenario, rounds: int, seed: int, progress: Callable[[str], None] = lambda _: None) -> Result:
    """Measure all contenders, ``rounds`` times each, taking turns in an order that is shuffled in each round."""
    order = random.Random(seed)
    series = {one.name: Series(one.name, absent=one.absent()) for one in scenario.contenders}
    here = [one for one in scenario.contenders if series[one.name].absent is None]
    for number in range(rounds):
        order.shuffle(here)
        for contender in here:
            progress(f"{scenario.name}: round {number + 1} of {rounds}: {contender.name}")
            gc.collect()  # or one contender pays for another's garbage
            series[contender.name].samples.append(contender.measure())
    return Result(scenario, series)


@contextmanager
def silence() -> Iterator[None]:
    """What our own log would say meanwhile is meant to happen."""
    logger = logging.getLogger("switchgear")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
