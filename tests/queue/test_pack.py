"""Which calls may be queued, what is kept of them, and what comes out again."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import switchgear as sg
from switchgear.actors.machines.limiter import LOW
from switchgear.actors.queue.pack import failure, key_of, pack, refusal, unpack
from switchgear.actors.service.messages import Progress, Request
from switchgear.actors.service.upload import Upload

OPEN = sg.CircuitOpen("open")
GONE = sg.TransportError("connection lost", processed="maybe", attempts=1)


def request(method="POST", target="/x", **fields):
    return Request(method, target, "mine", 99.0, 0.0, Progress(), **fields)


def status(code):
    kind = sg.RateLimited if code == 429 else sg.HTTPStatusError
    return kind(f"the service answered {code}", status=code, attempts=1)


@pytest.mark.parametrize(
    ("made", "error", "why"),
    [
        (request("GET"), OPEN, "nobody would get the answer of a GET later"),
        (request("OPTIONS"), OPEN, "nobody would get the answer of a OPTIONS later"),
        (request(body=Upload(None)), OPEN, "its body comes from an iterator"),
        (request(), status(404), "to make it again would not help"),
        (request(), sg.DecodeError("not an int", attempts=1), "to make it again would not help"),
        (request(), sg.ResponseTooLarge("large", attempts=1), "to make it again would not help"),
        (request(), sg.InvalidRequest("bad"), "to make it again would not help"),
        (request(), GONE, "the service may have acted on it, and a POST without idempotency_key may not be made twice"),
        (request("PATCH"), status(500), "and a PATCH without idempotency_key may not be made twice"),
        (request(), sg.CallTimeout("late", attempts=1), "may not be made twice"),
        (request(), sg.ShuttingDown("gone", attempts=1), "may not be made twice"),
        (request(headers=(("Authorization", "Bearer x"),)), OPEN, "its header 'Authorization' looks like a credential"),
        (request(target="/x?a=1&Api-Key=x"), OPEN, "its parameter 'Api-Key' looks like a credential"),
    ],
)
def test_what_is_not_queued(made, error, why) -> None:
    assert why in refusal(made, error)


@pytest.mark.parametrize(
    ("made", "error"),
    [
        (request(), OPEN),
        (request(), sg.CallTimeout("it never got its turn")),
        (request(), sg.TransportError("refused", processed="no", attempts=1)),
        (request(), status(429)),
        (request(), status(425)),
        (request(), sg.AuthFailed("401", attempts=1)),
        (request(), sg.Overloaded("full")),
        (request(), sg.NoHealthyInstances("none", attempts=1)),
        (request(idempotency_key="k"), GONE),
        (request(headers=(("idempotency-KEY", "k"),)), GONE),
        (request(idempotency_key="k"), status(500)),
        (request("PUT"), GONE),
        (request("DELETE"), sg.CallTimeout("late", attempts=3)),
        (request(target="/authors?author=x&page=2&sigma=3", headers=(("X-Author", "me"), ("Accept", "*/*"))), OPEN),
    ],
)
def test_what_is(made, error) -> None:
    assert refusal(made, error) is None


SECRETS = """
Authorization Proxy-Authorization Cookie Set-Cookie X-API-Key apikey api_key X-Auth-Token X-Auth auth Password passwd
access_token client_secret X-Amz-Security-Token X-Amz-Signature sig JWT X-Session-Id sessionid sid credentials AccessKey
private-key X-CSRF-Token refreshToken pwd
"""


@pytest.mark.parametrize("name", SECRETS.split())
def test_names_that_credentials_go_by(name) -> None:
    for variant in (name, name.lower(), name.upper()):
        assert "looks like a credential" in refusal(request(headers=((variant, "v"),)), OPEN)
        assert "looks like a credential" in refusal(request(target=f"/x?{variant}=v"), OPEN)


@pytest.mark.parametrize("name", ["Content-Type", "Accept", "X-Author", "Signal", "Idempotency-Key", "X-Tenant", "Key"])
def test_names_that_they_do_not_go_by(name) -> None:
    assert refusal(request(headers=((name, "v"),)), OPEN) is None


texts = st.text(st.characters(codec="latin-1", exclude_categories=["C"]), max_size=10)


@given(
    method=st.sampled_from(["POST", "PATCH", "PUT", "DELETE"]),
    headers=st.lists(st.tuples(st.sampled_from(["X-A", "X-B", "Content-Type"]), texts), max_size=4).map(tuple),
    body=st.binary(max_size=50),
    key=st.none() | st.just("given"),
    affinity=st.none() | texts,
    weight=st.floats(0, 10),
)
def test_what_goes_in_comes_out(method, headers, body, key, affinity, weight) -> None:
    before = request(
        method, "/x?y=%20", headers=headers, body=body, idempotency_key=key, affinity=affinity, weight=weight, type=int
    )
    call = pack(before, "svc", "made", 1000.0)
    assert (call.service, call.queued_at) == ("svc", 1000.0)
    after = unpack(call, 50.0, 30.0)
    assert msgspec.structs.asdict(after) | {"progress": None} == msgspec.structs.asdict(before) | {
        "deadline": 80.0,
        "started": 50.0,
        "progress": None,
        "type": bytes,
        "priority": LOW,
        "idempotency_key": key or ("made" if method in {"POST", "PATCH"} else None),
    }


def test_a_key_among_the_headers_is_the_key() -> None:
    before = request(headers=(("Idempotency-Key", "theirs"), ("X", "y")))
    assert key_of(before) == "theirs"
    call = pack(before, "svc", "made", 0.0)
    assert (call.idempotency_key, call.headers) == ("theirs", (("X", "y"),))


@pytest.mark.parametrize(
    ("error", "final", "counts"),
    [
        (status(500), False, True),
        (status(502), False, True),
        (status(503), False, False),
        (status(408), False, True),
        (status(425), False, False),
        (status(429), False, False),
        (status(400), True, True),
        (status(404), True, True),
        (status(409), True, True),
        (sg.AuthFailed("401", attempts=1), False, False),
        (OPEN, False, False),
        (sg.CallTimeout("no turn"), False, False),
        (sg.CallTimeout("late", attempts=1), False, True),
        (GONE, False, True),
        (sg.TransportError("refused", processed="no", attempts=1), False, False),
        (sg.RateLimited("ours", attempts=1), False, False),
        (sg.InvalidRequest("too heavy"), True, False),
        (sg.ResponseTooLarge("large", attempts=1), True, True),
        (sg.UnknownService("gone"), False, False),
    ],
)
def test_what_an_error_means_for_an_item(error, final, counts) -> None:
    seen = failure(error, 7.0)
    assert (seen.final, seen.counts, seen.retry_at) == (final, counts, 7.0)
    assert seen.error == f"{error.code.value}: {error.message}"


def test_the_text_of_an_error_is_one_short_line() -> None:
    seen = failure(sg.TransportError("a\nb\x00" + "x" * 1000), None)
    assert seen.error.startswith("TRANSPORT: a b x")
    assert len(seen.error) == 300
