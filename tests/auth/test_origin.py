"""Credentials of every kind are for the service's own origin: whoever a redirect leads to gets none, and no request."""

from __future__ import annotations

import httpx
import pytest
from support.service import outcome_of, running
from support.tokens import Mint
from support.wire import http_server, json_answer

import switchgear as sg

QUIET = sg.MetricsConfig(websocket=False)
KEY = sg.Secret("canary-key-0ac4")


class Signing:
    async def authenticate(self, request):
        return {"X-Signature": KEY.reveal()}


KINDS = {
    "a key in a header": lambda: sg.ApiKeyAuth(KEY),
    "a key in the query": lambda: sg.ApiKeyAuth(KEY, name="key", location="query"),
    "basic": lambda: sg.BasicAuth("user", KEY),
    "a fetched token": lambda: sg.BearerAuth(token_from=Mint((KEY.reveal(), 60))),
    "a signature": lambda: sg.CustomAuth(Signing()),
    "an httpx.Auth": lambda: sg.CustomAuth(httpx.BasicAuth("user", KEY.reveal())),
}


def said(headers):
    return {"authorization", "x-api-key", "x-signature"} & set(dict(headers))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("follow", [False, True])
async def test_a_redirect_elsewhere_is_not_followed(kind, follow) -> None:
    async with http_server(lambda _: json_answer({})) as elsewhere:
        moved = (307, {"Location": f"{elsewhere.url}/stolen"}, b"")
        async with http_server(lambda _: moved) as server:
            config = sg.ServiceConfig("svc", server.url, auth=KINDS[kind](), follow_redirects=follow)
            async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET)) as runtime:
                end = await outcome_of(runtime.service("svc").get("/"))
    assert isinstance(end, sg.HTTPStatusError) if follow else end.status == 307
    assert server.log[0].query or said(server.log[0].headers)
    assert not elsewhere.log


@pytest.mark.parametrize("kind", KINDS)
async def test_hosts_that_are_allowed_get_a_request_without_credentials(kind, autojump_clock) -> None:
    moved = (303, {"Location": "https://cdn.test/file"}, b"")
    fields = {"follow_redirects": True, "allowed_hosts": ("cdn.test",)}
    async with running(moved, 200, auth=KINDS[kind](), **fields) as (service, upstream):
        assert (await service.get("/")).success
    here, there = upstream.requests
    assert (here.url.host, there.url.host) == ("svc.test", "cdn.test")
    assert here.url.query or said(here.headers)
    assert not there.url.query
    assert not said(there.headers)
