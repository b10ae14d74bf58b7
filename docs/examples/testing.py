"""The examples of docs/testing.rst, as they stand there. tests/testing/test_examples.py runs them."""

# --- begin virtual
import httpx
import trio
import trio.testing

import switchgear as sg


def answer(request: httpx.Request) -> httpx.Response:
    down = 60 <= trio.current_time() < 3660  # an hour of outage
    return httpx.Response(503 if down else 200, json={"ok": not down})


async def poll() -> dict[str, int]:
    """A call a second for two hours: how many ended how."""
    ends: dict[str, int] = {}
    config = sg.RuntimeConfig([sg.ServiceConfig("bank", "https://bank.example")])
    async with sg.open_runtime(config, transport=httpx.MockTransport(answer), seed=1) as runtime:
        for _ in range(7200):
            response = await runtime.service("bank").try_request("GET", "/")
            end = "ok" if response.error is None else response.error.code
            ends[end] = ends.get(end, 0) + 1
            await trio.sleep(1)
    return ends


def test_that_an_outage_is_met_by_the_breaker() -> None:
    ends = trio.run(poll, clock=trio.testing.MockClock(autojump_threshold=0))
    assert ends["ok"] > 3000
    assert ends["CIRCUIT_OPEN"] > ends["HTTP_STATUS"]


# --- end virtual

# --- begin proxy
from switchgear.testing import BlackHole, FaultProxy, Latency, Reset


async def check_that_a_bad_network_is_survived(host: str, port: int) -> None:
    async with FaultProxy.open(host, port, seed=1) as proxy:
        config = sg.ServiceConfig("bank", proxy.url, timeout=sg.TimeoutConfig(total=10, attempt=0.5))
        async with sg.open_runtime(sg.RuntimeConfig([config])) as runtime:
            bank = runtime.service("bank")

            proxy.faults = (Latency(0.05, jitter=0.02),)  # slow, but good
            assert (await bank.get("/")).attempts == 1

            proxy.reset_all()
            proxy.plan = lambda number: (Reset(after=20),) if number < 3 else ()
            assert (await bank.get("/")).attempts > 1  # the first connections break: it is tried again

            proxy.reset_all()
            proxy.faults, proxy.plan = (BlackHole(),), None
            response = await bank.try_request("GET", "/", timeout=0.3)
            assert isinstance(response.error, sg.CallTimeout)


# --- end proxy

# --- begin schedules
from hypothesis import given, settings

from switchgear.testing.strategies import Schedule, schedules


@settings(max_examples=20, deadline=None)
@given(schedules(max_connections=2))
def check_that_it_recovers(server: tuple[str, int], schedule: Schedule) -> None:
    async def main() -> None:
        async with FaultProxy.open(*server, plan=schedule) as proxy:
            timeout = sg.TimeoutConfig(total=5, attempt=0.2)
            config = sg.ServiceConfig("bank", proxy.url, timeout=timeout, retry=sg.RetryPolicy(base_delay=0.01))
            async with sg.open_runtime(sg.RuntimeConfig([config])) as runtime:
                bank = runtime.service("bank")
                await bank.try_request("GET", "/")  # whatever becomes of this one
                proxy.reset_all()
                proxy.heal()
                assert (await bank.get("/")).success

    trio.run(main)


# --- end schedules
