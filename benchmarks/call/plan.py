"""Which tables there are, and what is promised in each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from ..harness import Contender, Metric, Promise, Scenario
from . import servers
from .crew import Crew
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
CALLERS = (1, 16, 64, 256, 1000)
OVER_HTTPX = {1: 3, 16: 12, 64: 15, 256: 15}


def plan(crew: Crew, *, quick: bool) -> Iterator[Scenario]:
    """One after the other; each server lives as long as its tables are measured."""
    seconds = 0.05 if quick else 0.7
    with servers.plain() as server:
        for callers in (16,) if quick else CALLERS:
            yield fast(crew, "plain", Job(server.urls, server.ca, callers, seconds))
    if servers.has_trustme():
        with servers.secure() as server:
            for callers in (16,) if quick else CALLERS:
                yield fast(crew, "TLS", Job(server.urls, server.ca, callers, seconds))
    with servers.slow() as server:
        for callers in (16,) if quick else CALLERS:
            yield slow(crew, Job(server.urls, server.ca, callers, seconds))
        if not quick:
            yield cliff(crew, Job(server.urls, server.ca, 1, seconds))


def contenders(crew: Crew, job: Job) -> list[Contender]:
    """All of them, for one table."""
    return [Contender(name, partial(crew.measure, short, job), needs) for name, (short, needs) in NAMES.items()]


def fast(crew: Crew, kind: str, job: Job) -> Scenario:
    """A server that answers at once: how many calls go through?"""
    return Scenario(
        f"{kind}, {job.callers:,} callers",
        (THROUGHPUT, CPU),
        contenders(crew, job),
        reference="httpx",
        promises=fast_promises(job.callers),
    )


def fast_promises(callers: int) -> Sequence[Promise]:
    """As in issue 3, plain and TLS alike."""
    several = callers >= 16
    promises = [Promise(OURS, "throughput", least=2 if several else 1, to="aiohttp")]
    if callers in OVER_HTTPX:
        promises.insert(0, Promise(OURS, "throughput", least=OVER_HTTPX[callers], to="httpx"))
    if several:
        promises.append(Promise(OURS, "throughput", least=1, to="pyreqwest", stretch=True))
    return promises


def slow(crew: Crew, job: Job) -> Scenario:
    """A server that takes its time: what does waiting cost?"""
    promises = [Promise(OURS, "CPU", most=0.25, to="httpx")] if job.callers == 64 else []
    name = f"{servers.DELAY * 1000:.0f} ms, {job.callers:,} callers"
    return Scenario(name, (CPU, THROUGHPUT), contenders(crew, job), reference="httpx", promises=promises)


def cliff(crew: Crew, job: Job) -> Scenario:
    """The same for ours alone, by numbers of callers: is there one that it cannot take?"""
    jobs = {f"{OURS}, {callers:,}": Job(job.urls, job.ca, callers, job.seconds) for callers in (64, 256, 1000)}
    return Scenario(
        f"{servers.DELAY * 1000:.0f} ms, is there a cliff?",
        (CPU, THROUGHPUT),
        [Contender(name, partial(crew.measure, "guarded", one)) for name, one in jobs.items()],
        reference=f"{OURS}, 64",
        promises=[Promise(f"{OURS}, 1,000", "CPU", most=1.5, to=f"{OURS}, 64")],
    )
