"""An authorization server and a service behind one scripted transport, for OAuth2 without a network.

async with oauth2(503, token("one", 60)) as (service, peers):      # the last step serves all that come after
    ... await service.get("/x") ... peers.asked ... peers.forms ... peers.sent

A step is one of `support.service.Upstream`'s: a status, a tuple, an exception, a function of the request.
"""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from urllib.parse import parse_qsl

import httpx
import trio
from support.service import ONCE, QUIET, Upstream, reply_json

import switchgear as sg

URL = "https://auth.test/token"
MANY = sg.BulkheadConfig(max_concurrent=100)


def token(value, expires_in=None, **members):
    """The answer with this token."""
    said = {"access_token": value, "token_type": "Bearer", "expires_in": expires_in} | members
    return reply_json(json.dumps({name: one for name, one in said.items() if one is not None}).encode())


def refusal(code, status=400, **members):
    return reply_json(json.dumps({"error": code} | members).encode(), status)


def auth(**fields):
    """A client with a secret."""
    return sg.OAuth2Auth(**({"client_id": "me", "token_url": URL, "client_secret": sg.Secret("s3cret")} | fields))


class Peers(httpx.AsyncBaseTransport):
    """The service answers 200, or what ``api`` (a function of the request) says; the rest is the server's script."""

    def __init__(self, *script, api=None):
        self.server = Upstream(*script)
        self.service = Upstream(api or 200)

    async def handle_async_request(self, request):
        peer = self.service if request.url.host == "svc.test" else self.server
        return await peer.handle_async_request(request)

    @property
    def asked(self):
        """When a token was asked for."""
        return self.server.times

    @property
    def forms(self):
        """What was asked with."""
        return [dict(parse_qsl(request.content.decode())) for request in self.server.requests]

    @property
    def sent(self):
        """What the service was shown."""
        return self.service.header("authorization")


@asynccontextmanager
async def oauth2(*script, api=None, service=(), seed=1, **fields):
    """A runtime with one service that has these ``fields`` of OAuth2; yields the service and its peers."""
    peers = Peers(*script, api=api)
    config = sg.ServiceConfig(
        "svc", "https://svc.test", auth=auth(**fields), **({"retry": ONCE, "bulkhead": MANY} | dict(service))
    )
    async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET), transport=peers, seed=seed) as runtime:
        peers.runtime = runtime
        yield runtime.service("svc"), peers


async def settled():
    """All that can happen now has."""
    await trio.testing.wait_all_tasks_blocked()
