"""What is called: a server in a process of its own, the network between, and services with every guard set to bite.

Two of the services are behind fault proxies, one of these over TLS. Each connection there has faults of its own, drawn
from the seed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trustme

import switchgear as sg
from switchgear.testing import (
    Bandwidth,
    BlackHole,
    Corrupt,
    Drip,
    Fault,
    HalfClose,
    Latency,
    Reset,
    Truncate,
)

OPEN, GUARDED, TLS, FAULTY, FAULTY_TLS, PASSING = "open", "guarded", "tls", "faulty", "faulty-tls", "passing"
ALWAYS = (OPEN, GUARDED, TLS, FAULTY, FAULTY_TLS)  # while PASSING comes and goes
CUT = frozenset({FAULTY})  # nothing tells the end of a plain answer that lasts until the connection closes from a cut


class Server(NamedTuple):
    """The peer."""

    ports: tuple[int, int]
    tls_port: int
    ca_file: str

    @property
    def urls(self) -> list[str]:
        """Of its two plain listeners."""
        return [f"http://127.0.0.1:{port}" for port in self.ports]


@contextmanager
def server() -> Iterator[Server]:
    """Start it, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        authority, certificate = trustme.CA(), Path(folder, "server.pem")
        authority.cert_pem.write_to_path(str(Path(folder, "ca.pem")))
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(certificate))
        command = [sys.executable, "-m", "benchmarks.soak.peer", str(certificate)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            one, two, tls = (int(port) for port in process.stdout.readline().split())
            yield Server((one, two), tls, str(Path(folder, "ca.pem")))
            process.kill()


def plan(rng: random.Random, *, corrupt: bool) -> Callable[[int], Sequence[Fault]]:
    """Faults for half of the connections. ``corrupt`` only where somebody checks: a plain answer has no checksum."""

    def one() -> Fault:
        at, way = rng.randrange(2000), rng.choice(("upstream", "downstream"))
        kinds: list[Callable[[], Fault]] = [
            lambda: Latency(rng.random() * 0.02, rng.random() * 0.02, way),
            lambda: Drip(rng.randrange(1, 500), 0.001, way),
            lambda: Bandwidth(rng.randrange(50_000, 5_000_000), way),
            lambda: HalfClose(at, way),
            *((lambda kind=kind: kind(rng.choice((None, at)), way)) for kind in (Reset, Truncate, BlackHole)),
        ]
        if corrupt:
            kinds.append(lambda: Corrupt(at, way))
        return rng.choice(kinds)()

    return lambda _number: [one() for _ in range(rng.choice((0, 0, 1, 2)))]


def guarded(urls: Sequence[str], rng: random.Random) -> sg.ServiceConfig:
    """Every guard bites, each time a little differently."""
    return sg.ServiceConfig(
        GUARDED,
        instances=[sg.InstanceConfig(url) for url in urls],
        breaker=sg.BreakerConfig(failure_threshold=rng.randrange(15, 25), monitoring_period=0.2, reset_timeout=0.05),
        retry=sg.RetryPolicy(base_delay=0.001),
        rate_limit=sg.RateLimit(rng.randrange(1500, 2500), burst=50),
        bulkhead=sg.BulkheadConfig(
            max_concurrent=rng.randrange(6, 12),
            max_queue=rng.randrange(5, 15),
            max_wait=rng.choice((None, 0.05)),
            codel=rng.choice((None, sg.CoDelConfig())),
            adaptive=rng.choice((None, sg.AimdConfig(timeout=0.1), sg.Gradient2Config(window=0.05))),
        ),
        hedge=sg.HedgeConfig(delay=0.01),
        tls=sg.TLSConfig(min_version=rng.choice(("1.2", "1.3"))),  # another one means other connections
    )


def passing(urls: Sequence[str]) -> sg.ServiceConfig:
    """One that is there only for a while at a time."""
    return sg.ServiceConfig(PASSING, base_url=urls[0], retry=sg.RetryPolicy(max_attempts=1))


def services(there: Server, proxies: Sequence[int], seed: int) -> list[sg.ServiceConfig]:
    """All of them."""
    off, once = sg.BreakerConfig(enabled=False), sg.RetryPolicy(max_attempts=1)
    tls = sg.TLSConfig(ca_file=there.ca_file)
    again = sg.RetryPolicy(base_delay=0.001)
    instances = [sg.InstanceConfig(url) for url in there.urls]
    return [
        sg.ServiceConfig(OPEN, instances=instances, breaker=off, retry=once),
        guarded(there.urls, random.Random(seed)),
        sg.ServiceConfig(TLS, f"https://localhost:{there.tls_port}", tls=tls, breaker=off, retry=once),
        sg.ServiceConfig(FAULTY, f"http://127.0.0.1:{proxies[0]}", breaker=off, retry=again),
        sg.ServiceConfig(FAULTY_TLS, f"https://localhost:{proxies[1]}", tls=tls, breaker=off, retry=again),
    ]
