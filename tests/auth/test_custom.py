"""Kinds of authentication of the user's own: what they see, when they are asked, and what they may do wrong."""

from __future__ import annotations

import copy
import hashlib
import hmac
import pickle
import traceback

import pytest
import trio
from support.service import in_background, outcome_of, running
from support.wire import http_server, json_answer

import switchgear as sg

CANARY = "canary-90f3aa"
MANY = sg.BulkheadConfig(max_concurrent=100)


class Plain:
    """Adds what it is told to."""

    def __init__(self, given):
        self.given = given
        self.seen = []

    async def authenticate(self, request):
        self.seen.append(request)
        return self.given(request) if callable(self.given) else self.given


class Session:
    """Logs in, and is logged out by whoever likes."""

    def __init__(self, seconds=None, takes=1.0):
        self.seconds = seconds
        self.takes = takes
        self.logins = 0
        self.valid = True
        self.running = self.most = 0

    async def refresh(self):
        self.running += 1
        self.most = max(self.most, self.running)
        await trio.sleep(self.takes)
        self.running -= 1
        self.logins += 1
        self.valid = True
        return self.seconds

    async def validate(self):
        return self.valid

    async def authenticate(self, request):
        return {"Session": f"s{self.logins}"}


async def test_it_adds_headers_and_a_query(autojump_clock) -> None:
    for given in ({"X-Sig": " abc "}, sg.Credentials((("X-Sig", "abc"),))):
        async with running(auth=sg.CustomAuth(Plain(given))) as (service, upstream):
            await service.get("/a", params={"q": 1})
        assert upstream.header("x-sig") == ["abc"]
    async with running(auth=sg.CustomAuth(Plain(sg.Credentials(query="sig=abc")))) as (service, upstream):
        await service.get("/a")
        await service.get("/a", params={"q": 1})
    assert [request.url.query for request in upstream.requests] == [b"sig=abc", b"q=1&sig=abc"]


async def test_it_sees_the_request_as_it_is_sent() -> None:
    """Enough to sign it, and for the service to check that."""
    key = b"secret"

    def signature(method, url, headers, body):
        said = [method, url, headers["x-request-id"], headers["content-type"], body.decode()]
        return hmac.new(key, "\n".join(said).encode(), hashlib.sha256).hexdigest()

    class Signing:
        async def authenticate(self, request):
            headers = {name.lower(): value for name, value in request.headers}
            return {"X-Signature": signature(request.method, request.url, headers, request.body)}

    def route(received):
        url = f"http://{received.header('host')}{received.target}"
        expected = signature(received.method, url, dict(received.headers), received.body)
        return json_answer({}) if received.header("x-signature") == expected else (401, {}, b"")

    async with http_server(route) as server:
        config = sg.ServiceConfig("svc", f"{server.url}/v1", auth=sg.CustomAuth(Signing()))
        quiet = sg.MetricsConfig(websocket=False)
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=quiet)) as runtime:
            service = runtime.service("svc")
            await service.post("/a", params={"q": "a b"}, json={"x": 1})
            await service.post("/{id}", path={"id": "\u00e9/"}, json={"x": 1})
    assert len(server.log) == 2


async def test_each_attempt_and_each_redirect_is_signed_anew(autojump_clock) -> None:
    provider = Plain(lambda request: {"X-Sig": f"for {request.url}"})
    script = [503, (302, {"Location": "/b"}, b""), 200]
    async with running(
        *script, auth=sg.CustomAuth(provider), follow_redirects=True, retry=sg.RetryPolicy(base_delay=0)
    ) as (service, upstream):
        await service.get("/a")
    assert upstream.header("x-sig") == [f"for https://svc.test/{path}" for path in "aab"]


async def test_what_it_sets_takes_the_place_of_others(autojump_clock) -> None:
    auth = sg.CustomAuth(Plain({"authorization": "mine"}))
    async with running(auth=auth, headers={"AUTHORIZATION": "config"}) as (service, upstream):
        await service.get("/", headers={"Authorization": "caller"})
    assert upstream.requests[0].headers.get_list("authorization") == ["mine"]


async def test_a_body_in_pieces_is_not_seen() -> None:
    provider = Plain({"X-Sig": "abc"})

    async def pieces():
        yield b"a"
        yield b"b"

    async with running(auth=sg.CustomAuth(provider)) as (service, _):
        await service.post("/", content=pieces())
    assert provider.seen[0].body is None


async def test_a_stream_is_signed_as_well() -> None:
    async with http_server(lambda received: (200, {}, received.header("x-sig").encode())) as server:
        config = sg.ServiceConfig("svc", server.url, auth=sg.CustomAuth(Plain({"X-Sig": "abc"})))
        quiet = sg.MetricsConfig(websocket=False)
        async with (
            sg.open_runtime(sg.RuntimeConfig((config,), metrics=quiet)) as runtime,
            runtime.service("svc").stream("GET", "/") as response,
        ):
            assert b"".join([piece async for piece in response]) == b"abc"


async def test_it_logs_in_before_the_first_call_once_for_all(autojump_clock) -> None:
    session = Session()
    async with (
        running(auth=sg.CustomAuth(session), bulkhead=MANY) as (service, upstream),
        in_background(service, *["/"] * 50) as ends,
    ):
        await trio.sleep(1)
    assert [end.status for end in ends] == [200] * 50
    assert upstream.header("session") == ["s1"] * 50
    assert (session.logins, session.most) == (1, 1)


async def test_and_again_before_its_seconds_are_over_while_the_old_session_is_used(autojump_clock) -> None:
    session = Session(seconds=1000)
    async with running(auth=sg.CustomAuth(session)) as (service, upstream):
        await service.get("/")
        await trio.sleep(900)
        await service.get("/")
        await trio.sleep(2)
        await service.get("/")
    assert upstream.header("session") == ["s1", "s1", "s2"]


@pytest.mark.parametrize("challenge", [{}, {"WWW-Authenticate": "Session"}])
async def test_and_after_a_401_whatever_that_asks_for(challenge, autojump_clock) -> None:
    session = Session()

    def takes(request):
        return 200 if request.headers["session"] == "s2" else (401, challenge, b"")

    async with (
        running(takes, auth=sg.CustomAuth(session), bulkhead=MANY) as (service, upstream),
        in_background(service, *["/"] * 50) as ends,
    ):
        await trio.sleep(1)
    assert [end.status for end in ends] == [200] * 50
    assert upstream.header("session") == ["s1"] * 50 + ["s2"] * 50
    assert (session.logins, session.most) == (2, 1)


async def test_and_when_it_says_itself_that_it_is_not_valid(autojump_clock) -> None:
    session = Session()
    async with running(auth=sg.CustomAuth(session), bulkhead=MANY) as (service, upstream):
        await service.get("/")
        session.valid = False
        async with in_background(service, *["/"] * 50):
            pass
    assert upstream.header("session") == ["s1"] + ["s2"] * 50
    assert (session.logins, session.most) == (2, 1)


async def test_without_refresh_what_is_not_valid_is_an_error_until_it_is(autojump_clock) -> None:
    class Checked(Plain):
        valid = False

        def validate(self):
            return self.valid

    provider = Checked({"X": "y"})
    async with running(auth=sg.CustomAuth(provider)) as (service, upstream):
        assert isinstance(await outcome_of(service.get("/")), sg.AuthFailed)
        assert not upstream.requests
        provider.valid = True
        await service.get("/")


async def test_without_refresh_a_401_is_final(autojump_clock) -> None:
    async with running(401, auth=sg.CustomAuth(Plain({"X": "y"}))) as (service, upstream):
        assert isinstance(await outcome_of(service.get("/")), sg.AuthFailed)
    assert len(upstream.requests) == 1


class Raising(Session):
    """At one of its methods."""

    def __init__(self, method, error):
        super().__init__()
        self.error = error
        setattr(self, method, self.fail)

    async def fail(self, *_):
        raise self.error


@pytest.mark.parametrize("method", ["authenticate", "refresh", "validate"])
async def test_what_it_raises_is_an_error_of_the_call_which_does_not_quote_it(method, autojump_clock) -> None:
    provider = Raising(method, KeyError(CANARY))
    async with running(auth=sg.CustomAuth(provider)) as (service, upstream):
        if method == "validate":  # which is asked of what there was before
            await service.get("/")
            upstream.requests.clear()
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert "KeyError" in str(end)
        assert "test_custom.py" in str(end)
        text = "".join(traceback.TracebackException.from_exception(end, capture_locals=True).format())
        assert CANARY not in text
        assert upstream.runtime.tree().find("/services/svc").restarts == 0
        assert service.breaker == "closed"
    assert not upstream.requests


@pytest.mark.parametrize("method", ["authenticate", "refresh", "validate"])
async def test_what_it_says_itself_is_told(method, autojump_clock) -> None:
    error = sg.AuthFailed("the vault is sealed", retry_at=1000.0)
    async with running(auth=sg.CustomAuth(Raising(method, error))) as (service, _):
        ends = [await outcome_of(service.get("/")) for _ in range(3)][1:]
    assert all("the vault is sealed" in str(end) for end in ends)
    assert all(end.retry_at >= 1000.0 for end in ends)
    assert len({id(end) for end in [*ends, error]}) == 3


@pytest.mark.parametrize(
    "given",
    [
        None,
        "text",
        {"X": 5},
        {"X": "a\r\nY: b"},
        {"X": f"{CANARY}\0"},
        {"Content-Length": "5"},
        {"Host": "evil.test"},
        {"": "x"},
        {5: "x"},
        sg.Credentials(query="a b"),
        sg.Credentials(query="a#b"),
        sg.Credentials(query="\u00e9"),
    ],
    ids=repr,
)
async def test_what_cannot_be_added_to_a_request_is_not_sent(given, autojump_clock) -> None:
    async with running(auth=sg.CustomAuth(Plain(given))) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert CANARY not in "".join(traceback.format_exception(end))
    assert not upstream.requests


async def test_one_that_hangs_is_cut_off_with_the_attempt(autojump_clock) -> None:
    class Hanging:
        async def authenticate(self, request):
            await trio.sleep_forever()

    timeout = sg.TimeoutConfig(total=60, attempt=2)
    async with running(auth=sg.CustomAuth(Hanging()), timeout=timeout) as (service, _):
        began = trio.current_time()
        assert isinstance(await outcome_of(service.get("/")), sg.AuthFailed)
        assert trio.current_time() - began == pytest.approx(2)


async def test_cancelling_a_caller_cancels_what_is_done_for_him_alone(autojump_clock) -> None:
    ended = []

    class Slow:
        async def authenticate(self, request):
            try:
                await trio.sleep(5)
            finally:
                ended.append(trio.current_time())
            return {}

    async with running(auth=sg.CustomAuth(Slow())) as (service, _):
        began = trio.current_time()
        with trio.move_on_after(1):
            await service.get("/")
        await trio.testing.wait_all_tasks_blocked()
    assert ended == [pytest.approx(began + 1)]


@pytest.fixture
def registered():
    made = []

    def factory(service):
        made.append(service)
        return Plain({"X-For": service})

    sg.register_auth("for-tests", factory)
    return made


async def test_one_that_is_registered_is_known_to_configurations_by_its_name(registered) -> None:
    loaded = sg.load_config({"services": [{"name": "svc", "auth": {"type": "custom", "provider": "for-tests"}}]})
    async with running(auth=loaded.services[0].auth) as (service, upstream):
        await service.get("/")
        await service.get("/")
        again = sg.CustomAuth("for-tests")
        await upstream.runtime.reconfigure("svc", sg.ServiceConfig("svc", "https://svc.test", auth=again))
        await service.get("/")
    assert upstream.header("x-for") == ["svc"] * 3
    assert registered == ["svc"]  # the same name is the same authentication


async def test_a_provider_keeps_its_session_through_a_crash(autojump_clock) -> None:
    """A new one would not know what the token cache takes for fetched."""
    sg.register_auth("session", lambda _: Session())
    async with running(auth=sg.CustomAuth("session")) as (service, upstream):
        await service.get("/")
        await upstream.runtime._services["svc"]._ref.tell(object())
        await trio.testing.wait_all_tasks_blocked()
        await service.get("/")
        assert upstream.runtime.tree().find("/services/svc").restarts == 1
    assert upstream.header("session") == ["s1", "s1"]


def test_a_name_that_nobody_registered_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(sg.ConfigError, match="there is no authentication 'nobody'"):
        sg.CustomAuth("nobody")


@pytest.mark.parametrize("bad", [5, None, object(), Plain, [], b"x"])
def test_what_is_no_provider_is_refused(bad) -> None:
    with pytest.raises(sg.ConfigError):
        sg.CustomAuth(bad)


async def test_or_by_the_name_of_its_factory(tmp_path, monkeypatch, autojump_clock) -> None:
    (tmp_path / "my_auth.py").write_text(
        "class Named:\n"
        "    def __init__(self, service):\n"
        "        self.service = service\n"
        "    async def authenticate(self, request):\n"
        "        return {'X-For': self.service}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    table = {"type": "custom", "provider": "my_auth:Named"}
    loaded = sg.load_config({"services": [{"name": "svc", "auth": table}]})
    async with running(auth=loaded.services[0].auth) as (service, upstream):
        await service.get("/")
    assert upstream.header("x-for") == ["svc"]
    with pytest.raises(sg.ConfigError, match=r"services\[0\].auth.provider: there is no 'Nobody'"):
        sg.load_config({"services": [{"name": "svc", "auth": table | {"provider": "my_auth:Nobody"}}]})


def test_what_cannot_be_registered_is_refused() -> None:
    for name, factory in ((5, Plain), ("", Plain), ("a:b", Plain), ("x", None)):
        with pytest.raises(sg.ConfigError):
            sg.register_auth(name, factory)


@pytest.mark.parametrize("factory", [lambda _: 1 / 0, lambda _: object(), lambda _: Plain])
async def test_a_factory_that_fails_is_an_error_of_the_calls(factory, autojump_clock) -> None:
    sg.register_auth("broken", factory)
    async with running(auth=sg.CustomAuth("broken")) as (service, upstream):
        end = await outcome_of(service.get("/"))
        assert isinstance(end, sg.AuthFailed)
        assert "factory" in str(end)
        assert upstream.runtime.tree().find("/services/svc").restarts == 0


def test_what_a_provider_holds_is_not_shown() -> None:
    class Keyed(Plain):
        def __repr__(self):
            return f"Keyed({CANARY})"

    auth = sg.CustomAuth(Keyed({}))
    config = sg.ServiceConfig("svc", "https://svc.test", auth=auth)
    request = sg.AuthRequest("GET", f"http://x/?k={CANARY}", (("X", CANARY),), CANARY.encode())
    shown = [repr(auth), repr(config), repr(config.__rich_repr__()), repr(request), repr(request.__rich_repr__())]
    assert not [text for text in shown if CANARY in text]


async def test_what_it_adds_is_known_as_a_secret_and_signatures_do_not_push_out_the_others(autojump_clock) -> None:
    signatures = iter(range(10**9, 10**10))
    provider = Plain({"X-Key": CANARY})
    async with running(auth=sg.CustomAuth(provider)) as (service, _):
        await service.get("/")
        provider.given = lambda _: {"X-Sig": str(next(signatures))}
        for _ in range(1500):
            await service.get("/")
        assert service._state.known.scrub(f"it said {CANARY}") == "it said ***"


def test_a_name_can_be_pickled_and_what_a_provider_holds_cannot() -> None:
    sg.register_auth("of a pickle", lambda service: Plain({}))
    named, held = sg.CustomAuth("of a pickle"), sg.CustomAuth(Plain({"X": "secret"}))
    assert pickle.loads(pickle.dumps(named)) == named
    with pytest.raises(TypeError, match="register it, and give its name"):
        pickle.dumps(held)
    assert copy.copy(held) is copy.deepcopy(held) is held
