"""The examples of docs/authentication.rst, run as they stand there."""

import hashlib
import hmac
import runpy
from pathlib import Path

import pytest
from support.service import Upstream, reply_json, running

import switchgear as sg

EXAMPLES = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "examples" / "authentication.py"))
KEY = "for tests"


async def called(config, *script, path="/a"):
    upstream = Upstream(*script)
    settings = sg.RuntimeConfig((config,), metrics=sg.MetricsConfig(websocket=False))
    async with sg.open_runtime(settings, transport=upstream, seed=1) as runtime:
        assert (await runtime.service(config.name).get(path)).success
    return upstream.requests


@pytest.fixture(autouse=True)
def no_key_of_the_environment(monkeypatch):
    monkeypatch.delenv("SEARCH_KEY", raising=False)


async def test_what_is_fixed(autojump_clock) -> None:
    search, maps, mail, chat = EXAMPLES["fixed"]
    assert (await called(search))[0].headers["x-api-key"] == KEY
    assert (await called(maps))[0].url.query == b"key=for+tests"
    assert (await called(mail))[0].headers["authorization"].startswith("Basic ")
    assert (await called(chat))[0].headers["authorization"] == f"Bearer {KEY}"


def test_where_a_token_is_kept_by_others() -> None:
    assert EXAMPLES["from_file"].auth.token_file == "/var/run/secrets/tokens/billing"
    assert EXAMPLES["from_function"].auth.token_from is EXAMPLES["token_of_the_machine"]


async def test_a_signature(autojump_clock) -> None:
    (request,) = await called(EXAMPLES["signed"])
    expected = hmac.new(KEY.encode(), b"GET\nhttps://payments.example/a\n", hashlib.sha256).hexdigest()
    assert request.headers["x-signature"] == expected


async def test_a_session(autojump_clock) -> None:
    def answer(request):
        return reply_json(b'{"session": "s1", "seconds": 600}') if request.url.path == "/sessions" else 200

    async with running(answer, name="login") as (_, upstream):
        archive = await EXAMPLES["add_the_archive"](upstream.runtime)
        await archive.get("/a")
        await archive.get("/a")
    assert [(request.url.path, request.headers.get("x-session")) for request in upstream.requests] == [
        ("/sessions", None),
        ("/a", "s1"),
        ("/a", "s1"),
    ]


async def test_digest(autojump_clock) -> None:
    challenge = {"WWW-Authenticate": 'Digest realm="r", nonce="n", qop="auth", algorithm=MD5'}
    first, second = await called(EXAMPLES["digest"], (401, challenge, b""), 200)
    assert "authorization" not in first.headers
    assert second.headers["authorization"].startswith("Digest ")
