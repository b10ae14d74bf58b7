"""Nothing that goes into a path is ever in a figure, an event or a log; and there are never too many names."""

from __future__ import annotations

import logging

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.service import drain, hang, outcome_of, reply_json, running
from support.wire import http_server, json_answer

import switchgear as sg


@pytest.fixture
def figures():
    """The figures of the operations, as plain values."""

    def of(upstream):
        return {
            name: (one.count, one.errors, one.errors_by_code)
            for name, one in upstream.runtime.metrics.get("svc").operations.items()
        }

    return of


async def test_calls_are_counted_by_their_template(figures, autojump_clock) -> None:
    async with running(200, 404, reply_json(b"{"), 200, 200, 200, 200) as (service, upstream):
        for number in range(3):
            await outcome_of(service.get("/users/{id}", path={"id": f"u{number}"}, type=None))
        await service.delete("/users/{id}", path={"id": "x"})
        await service.get("/health", path={})
        await service.get("/users/7")  # not by a template: counted with the service's, and nowhere else
        assert figures(upstream) == {
            "GET /users/{id}": (3, 2, {"HTTP_STATUS": 1, "DECODE": 1}),
            "DELETE /users/{id}": (1, 0, {}),
            "GET /health": (1, 0, {}),
        }
        assert upstream.runtime.metrics.get("svc").count == 6


async def test_with_their_times_also_of_those_that_the_actor_never_ended(figures, autojump_clock) -> None:
    fields = {"bulkhead": sg.BulkheadConfig(max_concurrent=1, max_queue=0, when_full="fail")}
    async with running(hang, **fields) as (service, upstream):
        with pytest.raises(sg.CallTimeout):
            await service.get("/slow/{id}", path={"id": 1}, timeout=3.0)
        one = upstream.runtime.metrics.get("svc").operations["GET /slow/{id}"]
        assert (one.count, one.errors_by_code) == (1, {"TIMEOUT": 1})
        assert (one.mean, one.max) == (pytest.approx(3.0), pytest.approx(3.0))


async def test_they_are_in_the_snapshots_too(autojump_clock) -> None:
    async with running() as (service, upstream), upstream.runtime.metrics.subscribe() as snapshots:
        await service.get("/users/{id}", path={"id": 1})
        await snapshots.receive()
        snapshot = await snapshots.receive()
        assert snapshot.services["svc"].operations["GET /users/{id}"].count == 1


async def test_a_program_that_makes_up_templates_gets_a_hundred_and_one_names() -> None:
    async with running() as (service, upstream):
        for number in range(130):
            await service.get(f"/made-up-{number}/{{id}}", path={"id": 1})
        found = upstream.runtime.metrics.get("svc").operations
        assert len(found) == 101
        assert found["other"].count == 30


values = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="."), min_size=1, max_size=12)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values, status=st.sampled_from([200, 302, 404, 500, 503]))
async def test_whatever_goes_into_a_path_comes_out_nowhere(value, status, caplog, autojump_clock) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.clear()
    mark = f"canary7{value}"
    fields = {
        "breaker": sg.BreakerConfig(failure_threshold=1, scope="operation"),
        "fallbacks": (sg.CacheFallback(), sg.DefaultFallback(1)),
        "retry": sg.RetryPolicy(max_attempts=2, base_delay=0.1),
    }
    async with running(status, **fields) as (service, upstream), upstream.runtime.events() as events:
        for _ in range(3):
            await outcome_of(service.get("/users/{id}", path={"id": mark}, params={"q": mark}))
            await outcome_of(service.get("/users/{id}", path={"id": mark}, fallback=False, timeout=1.0))
        said = [
            caplog.text,
            *map(repr, drain(events)),
            repr(upstream.runtime.tree()),
            repr(service),
            repr(service.breakers),
            msgspec.json.encode(upstream.runtime.metrics.all()).decode(),
        ]
    assert not [text for text in said if "canary7" in text]


async def test_nor_on_real_connections(caplog) -> None:
    caplog.set_level(logging.DEBUG)
    async with http_server(lambda _: json_answer({})) as server:
        config = sg.ServiceConfig("svc", server.url)
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=sg.MetricsConfig(websocket=False))) as runtime:
            await runtime.service("svc").get("/users/{id}", path={"id": "canary7"}, params={"q": "canary7"})
            said = caplog.text + repr(runtime.metrics.all()) + repr(runtime.tree())
    assert server.log[0].target == "/users/canary7?q=canary7"
    assert "canary7" not in said
