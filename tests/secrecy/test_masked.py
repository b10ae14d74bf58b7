"""What carries credentials on the road of a call, and what a frame shows that has it among its locals."""

import pytest
from rich.pretty import pretty_repr
from support.leaks import leaks, told, twins, walked
from support.service import SAFE, STEADY, outcome_of, reply_json, running

import switchgear as sg
from switchgear.actors.auth import Credentials
from switchgear.actors.queue.records import Call
from switchgear.actors.secrecy import looks_secret
from switchgear.actors.service.abroad import Place
from switchgear.actors.service.messages import FailedCall, Progress, Request
from switchgear.actors.service.target import Target
from switchgear.actors.transport import Reply, Wire
from switchgear.actors.transport.head import Block

CANARY = "sk-Canary-4711"
PAIRS = (("X-Odd", CANARY),)
BODY = CANARY.encode()
TARGET = f"/x?api_key={CANARY}"

CARRIERS = [
    Credentials(PAIRS, f"key={CANARY}"),
    Block(PAIRS),
    Wire("GET", TARGET, PAIRS, BODY, Block(PAIRS)),
    Reply(200, (("set-cookie", CANARY),), BODY, 0.0),
    Request("GET", TARGET, "id", 1.0, 0.0, Progress(), PAIRS, BODY, idempotency_key=CANARY, affinity=CANARY),
    Place(Target("https", "cdn.test", 443, ""), TARGET),
    Call("svc", "id", "POST", TARGET, PAIRS, BODY, CANARY, CANARY, 1.0, 0.0),
    FailedCall(
        method="GET",
        target=TARGET,
        headers=PAIRS,
        body=BODY,
        type=None,
        request_id="id",
        idempotency_key=CANARY,
        attempts=1,
    ),
    sg.ServiceResponse(success=True, data={"token": CANARY}, status=200, headers=PAIRS),
    sg.HTTPStatusError("no", status=400, headers=PAIRS, body=BODY),
    sg.RateLimited("no", status=429, headers=PAIRS, body=BODY),
]


@pytest.mark.parametrize("carrier", CARRIERS, ids=lambda one: type(one).__name__)
def test_what_carries_a_credential_does_not_show_it(carrier):
    for one in twins(carrier):
        texts = [repr(one), str(one), f"{one}", pretty_repr(one), pretty_repr({"a": (one,)}), *walked([one])]
        assert not leaks(texts, CANARY)
        assert type(carrier).__name__ in texts[0]


def test_they_tell_what_they_are():
    request = Request("GET", "/x?a=1", "id", 1.0, 0.0, Progress(), PAIRS, b"four")
    assert repr(request) == (
        "Request(method='GET', target='/x?***', request_id='id', headers=['X-Odd'], body='4 bytes')"
    )
    assert "target='/x', " in repr(Wire("GET", "/x", ()))


@pytest.mark.parametrize(
    "name",
    ["Authorization", "cookie", "X-API-Key", "apiKey", "x-auth-token", "private-key", "client_assertion", "pwd", "SID"],
)
def test_names_of_credentials(name):
    assert looks_secret(name)


@pytest.mark.parametrize("name", ["Accept", "author", "X-Side", "Idempotency-Key", "page", "signal", "keyword", ""])
def test_names_of_other_things(name):
    assert not looks_secret(name)


async def test_callers_who_differ_in_anything_that_looks_like_a_credential_share_no_answer():
    """The cache goes by the queue's rule, and not by a list of its own."""
    fallbacks = (sg.CacheFallback(max_age=60),)
    async with running(reply_json(b"1"), 503, base_url=SAFE, fallbacks=fallbacks) as (service, _):
        await service.get("/", headers={"accessToken": "mine", "X-Page": "1"})
        with pytest.raises(sg.HTTPStatusError):
            await service.get("/", headers={"accessToken": "his", "X-Page": "1"})
        response = await service.get("/", headers={"accessToken": "mine", "X-Page": "2"})
    assert (response.source, response.data) == ("cache", 1)


BAD = [
    {"path": "no"},
    {"params": {"x": object()}},
    {"headers": {"X": "a\nb"}},
    {"headers": {"A B": "c"}},
    {"json": {"x": object()}},
    {"content": 5},
    {"timeout": -1},
    {"type": 5},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: next(iter(bad)))
@pytest.mark.parametrize("how", ["get", "try_request", "stream", "head"])
async def test_a_call_that_cannot_be_made_leaves_no_frame_with_what_was_passed(bad, how):
    given = {"headers": {"X-Odd": CANARY}, "params": {"key": CANARY}, "json": {"x": CANARY}, "idempotency_key": CANARY}
    options = given | bad
    path = options.pop("path", "/x")
    if "content" in bad:
        del options["json"]
    if how == "stream" and "type" in bad:
        return
    async with running() as (service, _):
        if how == "stream":
            with pytest.raises(sg.InvalidRequest) as caught:
                async with service.stream("GET", path, **options):
                    pass
            error = caught.value
        elif how == "try_request":
            error = (await service.try_request("GET", path, **options)).error
        else:
            error = await outcome_of(getattr(service, how)(path, **options))
    assert isinstance(error, sg.InvalidRequest)
    assert error.service == "svc"
    assert not leaks(told(error), CANARY)


@pytest.mark.parametrize(
    "step", [401, 404, 429, 503, 302, reply_json(b"{"), reply_json(b'"x"'), OSError("cut"), KeyError()]
)
async def test_a_call_that_fails_leaves_no_frame_with_what_was_sent(step, autojump_clock):
    options = {"headers": {"X-Odd": CANARY}, "params": {"key": CANARY}, "json": {"x": CANARY}}
    fallbacks = (sg.CacheFallback(max_age=60), sg.DegradeFallback(lambda error, call: 1 / 0))
    secret = sg.ApiKeyAuth(sg.Secret(CANARY), name="key", location="query")
    async with running(step, auth=secret, headers={"X-Own": CANARY}, retry=STEADY, fallbacks=fallbacks) as (service, _):
        error = await outcome_of(service.post("/x", type=int, **options))
        assert not leaks(told(error), CANARY)
