"""What the demo counts, on made-up answers: each call once as success, fallback or failed."""

from switchgear.actors import errors
from switchgear.actors.metrics import ServiceMetrics
from switchgear.actors.service.messages import ServiceResponse
from switchgear.demo.tally import Tally

MEASURED = ServiceMetrics(
    count=0,
    errors=0,
    errors_by_code={},
    shed=0,
    mean=0,
    p50=0,
    p95=0,
    p99=0,
    min=0,
    max=0,
    attempts=0,
    retries=0,
    fallbacks=0,
    fallbacks_by_source={},
    breaker="closed",
    last_error=None,
    last_error_age=None,
    uptime=0,
)


def tally_of(*responses):
    tally = Tally()
    for response in responses:
        tally.count(response)
    return tally.summary(MEASURED)


def answered(**fields):
    return ServiceResponse(success=True, data=None, **({"attempts": 1, "elapsed": 0.1} | fields))


def failed(error, **fields):
    return ServiceResponse(success=False, data=None, error=error, **({"attempts": 1, "elapsed": 0.1} | fields))


def test_a_service_that_was_never_called():
    summary = tally_of()
    assert (summary.calls, summary.p50_ms, summary.p99_ms, summary.errors) == (0, 0.0, 0.0, {})


def test_each_call_is_counted_once():
    summary = tally_of(
        answered(),
        answered(attempts=3),
        answered(source="cache", error=errors.CallTimeout("late"), attempts=2),
        answered(source="default", error=errors.CircuitOpen("open")),
        failed(errors.TransportError("gone")),
    )
    assert (summary.calls, summary.success, summary.fallback, summary.failed) == (5, 2, 2, 1)
    assert summary.retried == 3
    assert summary.sources == {"cache": 1, "default": 1}
    assert summary.errors == {"TIMEOUT": 1, "CIRCUIT_OPEN": 1, "TRANSPORT": 1}
    assert abs(summary.p50_ms - 100) < 1.1


def test_shed_is_what_our_own_guards_refused():
    assert tally_of(failed(errors.CircuitOpen("open"))).shed == 1
    assert tally_of(failed(errors.Overloaded("full"))).shed == 1
    assert tally_of(failed(errors.RateLimited("no token in time"))).shed == 1
    assert tally_of(failed(errors.RateLimited("the service answered 429", status=429))).shed == 0
    assert tally_of(failed(errors.HTTPStatusError("the service answered 503", status=503))).shed == 0
    assert tally_of(answered(source="alternative", error=errors.CircuitOpen("open"))).shed == 1
