"""Logs of ours and of the libraries below: for as long as a runtime runs, at DEBUG, without secrets."""

from __future__ import annotations

import importlib
import logging
import pkgutil

import httpx
import pytest
from support.service import QUIET, Upstream

import switchgear as sg
from switchgear.actors.secrecy.logs import LOGGERS
from switchgear.actors.secrecy.named import without_named

CANARY = "sk-Canary-4711"
LIBRARIES = ("httpx", "httpcore", "httpx2", "httpcore2", "hpack", "h2", "hyperframe", "trio_websocket", "h11")


def config(secret=CANARY):
    return sg.RuntimeConfig(
        (sg.ServiceConfig("svc", "https://svc.test", auth=sg.BearerAuth(sg.Secret(secret))),), metrics=QUIET
    )


def filters():
    return {name: len(logging.getLogger(name).filters) for name in LOGGERS}


def test_all_loggers_that_there_are_are_on_the_list():
    for library in LIBRARIES:
        package = importlib.import_module(library)
        for module in pkgutil.walk_packages(package.__path__, f"{library}."):
            if not module.name.endswith("__main__") and "_sync" not in module.name and "test" not in module.name:
                try:
                    importlib.import_module(module.name)
                except ImportError:  # of an extra that is not installed
                    continue
    roots = (*LIBRARIES, "trio-websocket", "switchgear")
    there = {
        name
        for name, logger in logging.root.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in roots
    }
    assert there <= set(LOGGERS)


async def test_a_known_value_is_scrubbed_for_as_long_as_the_runtime_runs(caplog):
    caplog.set_level(logging.DEBUG)
    before = filters()
    logger = logging.getLogger("httpcore.http11")
    async with sg.open_runtime(config(), transport=Upstream(200)):
        logger.debug("sent %s and %d", CANARY, 5)
    assert caplog.messages[-1] == "sent *** and 5" or "sent *** and 5" in caplog.messages
    logger.debug("sent %s", CANARY)
    assert caplog.messages[-1] == f"sent {CANARY}"
    assert filters() == before


async def test_two_runtimes_scrub_each_its_own(caplog):
    caplog.set_level(logging.DEBUG)
    logger = logging.getLogger("switchgear.metrics")
    async with sg.open_runtime(config("first-secret"), transport=Upstream(200)):
        async with sg.open_runtime(config("second-secret"), transport=Upstream(200)):
            logger.warning("first-secret second-secret")
            assert caplog.messages[-1] == "*** ***"
        logger.warning("first-secret second-secret")
        assert caplog.messages[-1] == "*** second-secret"


async def test_a_traceback_in_a_log_is_scrubbed_too(caplog):
    async with sg.open_runtime(config(), transport=Upstream(200)):
        try:
            raise ValueError(CANARY)
        except ValueError:
            logging.getLogger("switchgear.service").exception("it failed")
    assert "ValueError: ***" in caplog.text
    assert CANARY not in caplog.text


async def test_hpack_shows_no_bytes_at_all(caplog):
    caplog.set_level(logging.DEBUG)
    async with sg.open_runtime(config("another-one"), transport=Upstream(200)):
        logging.getLogger("hpack.hpack").debug("Adding %s=%s to the header table, sensitive:%s", b"x", b"packed", False)
        logging.getLogger("hpack.table").debug("Decoded %s, consumed %d", (b"x", b"packed"), 3)
    assert "packed" not in caplog.text
    assert "sensitive:False" in caplog.text


async def test_an_httpx_client_of_the_programs_own_loses_its_secrets_too(caplog):
    caplog.set_level(logging.DEBUG)
    async with (
        sg.open_runtime(config(), transport=Upstream(200)),
        httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(200))) as client,
    ):
        await client.get(f"https://user:{CANARY}@svc.test/x", params={"api_key": "his-own", "page": "2"})
    (line,) = (text for text in caplog.messages if "HTTP Request" in text)
    assert "https://***@svc.test/x?api_key=***&page=2" in line


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("GET https://a:b@h/x?page=2#t", "GET https://***@h/x?page=2#t"),
        ("https://h/?accessToken=x&b=c token=d", "https://h/?accessToken=***&b=c token=d"),
        ("[(b'Set-Cookie', b'a=\\'b'), (b'Age', b'5')]", "[('Set-Cookie', '***'), (b'Age', b'5')]"),
        ("""[(b"set-cookie", b"it's")]""", "[('set-cookie', '***')]"),
        ("Illegal header value b'x\\r\\ny'", "Illegal header value '***'"),
        ("setup_socks5_connection.started auth=(b'a', b'b)c')", "setup_socks5_connection.started auth=***"),
        ("nothing to see", "nothing to see"),
    ],
)
def test_what_has_the_name_of_a_secret(text, clean):
    assert without_named(text) == clean


@pytest.mark.parametrize(
    "part", ["?", "&", "?a", "?a=", "://", "://a", "@", "('a', '", '("a", "', "auth=(", "\\'", "(b'a', b'\\"]
)
def test_no_text_takes_long(part):
    """It would take hours if the time grew with the square of the length."""
    text = part * 100_000
    assert len(without_named(f"{text}?token=x")) >= 100_000
