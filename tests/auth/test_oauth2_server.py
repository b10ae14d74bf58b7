"""OAuth2 against a real authorization server, with a service that asks it whether the tokens are good."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager

import pytest
from cryptography.fernet import Fernet
from joserfc.jwk import ECKey, RSAKey
from support.oidc import SECRET, authorization_server
from support.service import ONCE, QUIET, in_background, outcome_of
from support.wire import http_server, json_answer

import switchgear as sg

EC = ECKey.generate_key("P-256", parameters={"kid": "ec"})
RSA = RSAKey.generate_key(2048, parameters={"kid": "rsa"})
PUBLIC = [key.as_dict(private=False) for key in (EC, RSA)]
MANY = sg.BulkheadConfig(max_concurrent=100)


@asynccontextmanager
async def scene(server, **fields):
    """A service behind a runtime: it asks the authorization server of each token, and answers what that says."""

    async def api(received):
        token = dict(received.headers)["authorization"].removeprefix("Bearer ")
        said = await server.is_active(token)
        return json_answer(said) if said["active"] else (401, {"WWW-Authenticate": "Bearer"}, b"")

    async with http_server(api) as peer:
        auth = sg.OAuth2Auth(**({"token_url": server.token_url} | fields))
        config = sg.ServiceConfig("svc", peer.url, auth=auth, retry=ONCE, bulkhead=MANY)
        async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET)) as runtime:
            yield runtime.service("svc"), peer


def tokens(peer):
    return [dict(one.headers)["authorization"] for one in peer.log]


SIGNING = {"client_id": "signer", "client_auth": "private_key_jwt"}
CLIENTS = {
    "basic": {"client_id": "basic id:1", "client_secret": sg.Secret(SECRET)},
    "post": {"client_id": "post", "client_secret": sg.Secret(SECRET), "client_auth": "client_secret_post"},
    "ES256": SIGNING | {"private_key": sg.Secret(EC.as_pem(private=True).decode())},
    "PS256": SIGNING | {"private_key": sg.Secret(RSA.as_pem(private=True).decode()), "algorithm": "PS256"},
    "JWK": SIGNING | {"private_key": sg.Secret(json.dumps(RSA.as_dict(private=True)))},
}


@pytest.mark.parametrize("client", CLIENTS)
async def test_it_takes_us_and_its_token_is_good(client):
    async with (
        authorization_server(jwks=PUBLIC) as server,
        scene(server, **CLIENTS[client], scope=["read"]) as (
            service,
            _,
        ),
    ):
        said = (await service.get("/", type=dict)).data
    assert (said["active"], said["client_id"], said["scope"]) == (True, CLIENTS[client]["client_id"], "read")


async def test_it_is_found_by_its_issuer():
    async with authorization_server(jwks=PUBLIC) as server:
        fields = CLIENTS["ES256"] | {"token_url": None, "issuer": server.issuer}
        async with scene(server, **fields) as (service, _):
            assert (await service.get("/")).success


async def test_a_token_is_for_the_resource_that_is_named():
    async with (
        authorization_server() as server,
        scene(server, **CLIENTS["basic"], resource=["https://api.test/"], scope=["read"]) as (service, _),
    ):
        assert (await service.get("/", type=dict)).data["aud"] == "https://api.test/"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"client_secret": sg.Secret("wrong")}, "invalid_client"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"resource": ["https://a.test/", "https://b.test/"]}, "invalid_target"),
        ({"grant": "refresh_token", "refresh_token": sg.Secret("r")}, "invalid_request"),
    ],
)
async def test_what_it_refuses_for_good(fields, code):
    async with authorization_server() as server, scene(server, **(CLIENTS["basic"] | fields)) as (service, peer):
        end = await outcome_of(service.get("/"))
    assert isinstance(end, sg.AuthFailed)
    assert f" {code}" in end.message
    assert not end.retryable
    assert not peer.log


async def test_fifty_callers_have_one_token():
    async with (
        authorization_server() as server,
        scene(server, **CLIENTS["basic"]) as (service, peer),
        in_background(service, *["/"] * 50) as ends,
    ):
        pass
    assert [end.status for end in ends] == [200] * 50
    assert len(set(tokens(peer))) == 1


PERSON = {"client_id": "person", "client_secret": sg.Secret(SECRET), "grant": "refresh_token"}


async def test_refresh_tokens_rotate_through_refusals_and_restarts(tmp_path):
    """Each use of one that has been used would revoke them all: so none was."""
    async with authorization_server() as server:
        fields = PERSON | {
            "refresh_token": sg.Secret(server.refresh_token),
            "store": sg.TokenFile(str(tmp_path), [sg.Secret(Fernet.generate_key().decode())]),
        }
        seen = []
        for _ in range(3):  # processes, as far as the server can tell
            async with scene(server, **fields) as (service, peer):
                assert (await service.get("/")).success
                seen += tokens(peer)
        assert len(set(seen)) == 3


async def test_one_that_was_used_needs_a_person():
    async with authorization_server() as server:
        fields = PERSON | {"refresh_token": sg.Secret(server.refresh_token)}
        async with scene(server, **fields) as (service, _):
            assert (await service.get("/")).success
        async with scene(server, **fields) as (service, _):  # another process, without what the first one was given
            end = await outcome_of(service.get("/"))
    assert "invalid_grant" in end.message
    assert "has to be authorized again" in end.message
