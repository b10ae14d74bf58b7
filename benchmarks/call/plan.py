"""Which tables there are, and what is promised in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from ..harness import Contender, Metric, Promise, Scenario
from . import servers
from .crew import measure
from .job import Job

OURS = "switchgear, guarded"
NAMES = {
    OURS: ("guarded", None),
    "httpx": ("httpx", None),
    "httpx2": ("httpx2", "httpx2"),
    "aiohttp": ("aiohttp", "aiohttp"),
    "pyreqwest": ("pyreqwest", "pyreqwest"),
    "limit: trio socket": ("socket", None),
}
THROUGHPUT = Metric("throughput", "calls/s", more=True)
CPU = Metric("CPU", "us/call")
FAILED = Metric("failed", "% of calls")
CALLERS = (1, 16, 64, 256, 1000)
OVER_HTTPX = {1: 3, 16: 12, 64: 15, 256: 15}


def scenarios(*, quick: bool) -> Iterator[Scenario]:
    """One after the other; each server lives as long as its tables are measured."""
    seconds, numbers = (0.05, (16,)) if quick else (0.7, CALLERS)
    with servers.plain() as server:
        for callers in numbers:
            yield fast("plain", Job(server.urls, callers, seconds, server.ca))
    if not servers.has_trustme():
        yield no_tls()
    else:
        with servers.secure() as server:
            for callers in numbers:
                yield fast("TLS", Job(server.urls, callers, seconds, server.ca))
    with servers.slow() as server:
        for callers in numbers:
            yield slow(Job(server.urls, callers, seconds, server.ca))
        if not quick:
            yield cliff(Job(server.urls, 1, seconds))


def by(callers: int) -> str:
    """In words."""
    return f"{callers:,} {'caller' if callers == 1 else 'callers'}"


def contenders(job: Job) -> list[Contender]:
    """All of them, for one table."""
    return [Contender(name, partial(measure, short, job), needs) for name, (short, needs) in NAMES.items()]


def fast(kind: str, job: Job) -> Scenario:
    """A server that answers at once: how many calls go through?"""
    return Scenario(
        f"{kind}, {by(job.callers)}",
        (THROUGHPUT, CPU, FAILED),
        contenders(job),
        reference="httpx",
        promises=fast_promises(job.callers),
        curve=f"{kind}, by callers",
        at=job.callers,
    )


def fast_promises(callers: int) -> Sequence[Promise]:
    """As in issue 3, plain and TLS alike."""
    several = callers >= 16
    promises = [
        Promise(OURS, "throughput", least=2 if several else 1, to="aiohttp"),
        Promise(OURS, "failed", most=0, worst=True, timing=False),
    ]
    if callers in OVER_HTTPX:
        promises.insert(0, Promise(OURS, "throughput", least=OVER_HTTPX[callers], to="httpx"))
    if several:
        promises.append(Promise(OURS, "throughput", least=1, to="pyreqwest", stretch=True))
    return promises


def no_tls() -> Scenario:
    """Said, not hidden."""
    nobody = [Contender(name, dict, "trustme") for name in NAMES]
    return Scenario("TLS", (THROUGHPUT, CPU, FAILED), nobody, reference="httpx")


def slow(job: Job) -> Scenario:
    """A server that takes its time: what does waiting cost?"""
    promises = [Promise(OURS, "failed", most=0, worst=True, timing=False)]
    if job.callers == 64:
        promises.append(Promise(OURS, "CPU", most=0.25, to="httpx"))
    kind = f"{servers.DELAY * 1000:.0f} ms"
    return Scenario(
        f"{kind}, {by(job.callers)}",
        (CPU, THROUGHPUT, FAILED),
        contenders(job),
        reference="httpx",
        promises=promises,
        curve=f"{kind}, by callers",
        at=job.callers,
    )


def cliff(job: Job) -> Scenario:
    """The same for ours alone, by numbers of callers: is there one that it cannot take?"""
    jobs = {f"{OURS}, {callers:,}": Job(job.urls, callers, job.seconds) for callers in (64, 256, 1000)}
    return Scenario(
        f"{servers.DELAY * 1000:.0f} ms, is there a cliff?",
        (CPU, THROUGHPUT, FAILED),
        [Contender(name, partial(measure, "guarded", one)) for name, one in jobs.items()],
        reference=f"{OURS}, 64",
        promises=[Promise(f"{OURS}, 1,000", "CPU", most=1.5, to=f"{OURS}, 64")],
    )
