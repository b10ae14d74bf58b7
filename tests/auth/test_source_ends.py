"""What a source has open, on real sockets, ends with it: with its service, its actor's life, or its configuration."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
from support.service import outcome_of
from support.wire import converse, http_server, json_answer, read_request, serve

import switchgear as sg

QUIET = sg.MetricsConfig(websocket=False)


def config(server, auth):
    return sg.ServiceConfig("svc", server.url, auth=auth, retry=sg.RetryPolicy(max_attempts=1))


def oauth2(issuer):
    return sg.OAuth2Auth(client_id="me", token_url=f"{issuer.url}/token", client_secret=sg.Secret("s3cret-s3cret"))


async def ends(runtime, server, how):
    if how == "another auth":
        await runtime.reconfigure("svc", config(server, sg.BearerAuth(sg.Secret("other"))))
        await runtime.service("svc").get("/")
    elif how == "removed":
        await runtime.remove_service("svc")
    else:
        await runtime._services["svc"]._ref.tell(object())


class Issuer:
    """An authorization server whose connections tell of their end."""

    def __init__(self, hangs=False):
        self.hangs = hangs
        self.asked, self.go, self.closed = trio.Event(), trio.Event(), trio.Event()

    async def __call__(self, stream, peer):
        await converse(stream, self.answer) if not self.hangs else await self.hang(stream, peer)
        self.closed.set()

    async def answer(self, received):
        self.asked.set()
        await self.go.wait()
        return json_answer({"access_token": "one", "token_type": "Bearer", "expires_in": 3600})

    async def hang(self, stream, peer):
        await read_request(stream, peer)
        self.asked.set()
        assert await stream.receive_some() == b""


@asynccontextmanager
async def asking(issuer):
    """A runtime whose service asks it, and that service's server."""
    async with serve(issuer) as peer, http_server(lambda _: json_answer({})) as server:
        settings = sg.RuntimeConfig((config(server, oauth2(peer)),), metrics=QUIET)
        async with sg.open_runtime(settings) as runtime:
            with trio.fail_after(5):
                yield runtime, server


@pytest.mark.parametrize("how", ["another auth", "removed", "a crash"])
async def test_its_idle_connection(how) -> None:
    issuer = Issuer()
    issuer.go.set()
    async with asking(issuer) as (runtime, server):
        await runtime.service("svc").get("/")
        assert not issuer.closed.is_set()
        await ends(runtime, server, how)
        await issuer.closed.wait()


@pytest.mark.parametrize("how", ["removed", "a crash"])
async def test_a_flight_that_is_under_way(how) -> None:
    issuer = Issuer(hangs=True)
    outcomes = []

    async def one(service):
        outcomes.append(type(await outcome_of(service.get("/"))))

    async with asking(issuer) as (runtime, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one, runtime.service("svc"))
            await issuer.asked.wait()
            await ends(runtime, server, how)
        await issuer.closed.wait()
    assert outcomes == [sg.ShuttingDown if how == "removed" else sg.ActorCrashed]
    assert not server.log


async def test_after_a_change_of_auth_a_flight_ends_for_those_who_began_with_it() -> None:
    issuer = Issuer()
    async with asking(issuer) as (runtime, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(runtime.service("svc").get, "/old")
            await issuer.asked.wait()
            await ends(runtime, server, "another auth")
            issuer.go.set()
        await issuer.closed.wait()
    said = {request.path: request.header("authorization") for request in server.log}
    assert said == {"/old": "Bearer one", "/": "Bearer other"}
