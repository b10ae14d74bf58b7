"""What is sent to a token endpoint: who we are in each of the ways, and what we ask for."""

from __future__ import annotations

import base64
import json

import pytest
import trio
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from support.oauth2 import URL, oauth2, refusal, token
from support.service import outcome_of, reply_json

import switchgear as sg

EC, RSA = ECKey.generate_key("P-256"), RSAKey.generate_key(2048)
SIGNING = {"client_auth": "private_key_jwt", "client_secret": None}


def secret_of(key):
    return sg.Secret(key.as_pem(private=True).decode())


async def request_of(**fields):
    """The one request for a token that a call makes."""
    async with oauth2(token("one", 60), **fields) as (service, peers):
        assert (await service.get("/")).success
    (request,) = peers.server.requests
    assert peers.sent == ["Bearer one"]
    return request, peers.forms[0]


async def test_a_token_is_asked_for_by_a_form():
    request, form = await request_of()
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert request.headers["accept"] == "application/json"
    assert form == {"grant_type": "client_credentials"}


async def test_basic_is_form_encoded_first():
    """RFC 6749, section 2.3.1: a server undoes it, so an id with a colon or a blank would be another one."""
    request, _ = await request_of(client_id="a b:c", client_secret=sg.Secret("p+w%&\u00e9"))
    kind, _, pair = request.headers["authorization"].partition(" ")
    assert (kind, base64.b64decode(pair)) == ("Basic", b"a+b%3Ac:p%2Bw%25%26%C3%A9")


async def test_post_has_both_in_the_form():
    request, form = await request_of(client_auth="client_secret_post", client_secret=sg.Secret("p&w=\u00e9"))
    assert "authorization" not in request.headers
    assert form == {"grant_type": "client_credentials", "client_id": "me", "client_secret": "p&w=\u00e9"}


async def test_scope_audience_and_several_resources():
    request, form = await request_of(
        scope=["read", "write"], audience="https://api.test/", resource=["https://a.test/x", "urn:b"]
    )
    assert (form["scope"], form["audience"]) == ("read write", "https://api.test/")
    assert b"resource=https%3A%2F%2Fa.test%2Fx&resource=urn%3Ab" in request.content


async def test_a_query_of_the_endpoint_stays():
    request, _ = await request_of(token_url=f"{URL}?tenant=1&x=%2F")
    assert request.url.raw_path == b"/token?tenant=1&x=%2F"


async def test_an_endpoint_may_be_a_bare_host():
    request, _ = await request_of(token_url="https://auth.test")
    assert request.url.raw_path == b"/"


@pytest.mark.parametrize(("key", "algorithm"), [(EC, "ES256"), (RSA, "RS256"), (RSA, "PS256")])
async def test_an_assertion_is_short_lived_and_for_the_endpoint(key, algorithm):
    chosen = algorithm if algorithm == "PS256" else None
    _, form = await request_of(**SIGNING, private_key=secret_of(key), algorithm=chosen, key_id="k1")
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert form["client_id"] == "me"
    told = jwt.decode(form["client_assertion"], key, algorithms=[algorithm])
    assert told.header == {"typ": "JWT", "alg": algorithm, "kid": "k1"}
    assert (told.claims["iss"], told.claims["sub"], told.claims["aud"]) == ("me", "me", URL)
    assert 0 < told.claims["exp"] - told.claims["iat"] <= 60
    assert len(told.claims["jti"]) == 32


@pytest.mark.parametrize(
    ("fields", "audience"),
    [
        ({"issuer": "https://auth.test"}, "https://auth.test"),
        ({"issuer": "https://auth.test", "assertion_audience": "urn:them"}, "urn:them"),
    ],
)
async def test_its_audience_is_the_issuer_or_what_is_configured(fields, audience):
    _, form = await request_of(**SIGNING, private_key=secret_of(EC), **fields)
    assert jwt.decode(form["client_assertion"], EC, algorithms=["ES256"]).claims["aud"] == audience


async def test_a_jwk_brings_its_own_key_id():
    key = ECKey.generate_key("P-256", parameters={"kid": "mine"})
    _, form = await request_of(**SIGNING, private_key=sg.Secret(json.dumps(key.as_dict(private=True))))
    assert jwt.decode(form["client_assertion"], key, algorithms=["ES256"]).header["kid"] == "mine"


async def test_each_attempt_has_an_assertion_of_its_own(autojump_clock):
    """A server that has seen a ``jti`` refuses it, although the answer was lost."""
    fields = SIGNING | {"private_key": secret_of(EC), "retry": sg.RetryPolicy(max_attempts=3)}
    async with oauth2(503, 503, token("one", 60), **fields) as (service, peers):
        assert (await service.get("/")).success
    told = [jwt.decode(form["client_assertion"], EC, algorithms=["ES256"]).claims for form in peers.forms]
    assert len({claims["jti"] for claims in told}) == 3


async def test_a_public_client_shows_its_id_and_its_refresh_token():
    request, form = await request_of(
        client_auth="none", client_secret=None, grant="refresh_token", refresh_token=sg.Secret("r0"), scope=["read"]
    )
    assert "authorization" not in request.headers
    assert form == {"grant_type": "refresh_token", "refresh_token": "r0", "scope": "read", "client_id": "me"}


# ---- metadata


def metadata(**members):
    said = {"issuer": "https://auth.test", "token_endpoint": "https://auth.test/oauth/token"} | members
    return reply_json(json.dumps(said).encode())


DISCOVER = {"token_url": None, "issuer": "https://auth.test"}


async def test_the_issuer_is_asked_where_its_endpoint_is_and_again_when_nothing_comes_from_there(autojump_clock):
    moved = metadata(token_endpoint="https://auth.test/moved")
    async with oauth2(metadata(), token("one", 60), token("two", 60), 404, moved, token("three"), **DISCOVER) as (
        service,
        peers,
    ):
        for _ in range(2):
            await service.get("/")
            await trio.sleep(60)
        end = await outcome_of(service.get("/"))
        await trio.sleep_until(end.retry_at)
        await service.get("/")
    asked = "/.well-known/oauth-authorization-server"
    assert [one.url.path for one in peers.server.requests] == [
        asked,
        *["/oauth/token"] * 3,
        asked,
        "/moved",
    ]
    assert peers.sent == ["Bearer one", "Bearer two", "Bearer three"]


async def test_a_certificate_that_nobody_checks_is_for_this_machine_alone(autojump_clock):
    fields = {"token_url": None, "issuer": "https://localhost", "tls": sg.TLSConfig(verify=False)}
    async with oauth2(metadata(issuer="https://localhost"), **fields) as (service, peers):
        end = await outcome_of(service.get("/"))
    assert "on another machine: verify = false is only for services on this machine" in end.message
    assert len(peers.asked) == 1


@pytest.mark.parametrize("issuer", ["https://auth.test/tenant/1", "https://auth.test/tenant/1/"])
async def test_where_rfc_8414_and_openid_look(issuer):
    script = [404, metadata(issuer=issuer), token("one")]
    async with oauth2(*script, **(DISCOVER | {"issuer": issuer})) as (service, peers):
        await service.get("/")
    assert [(one.method, str(one.url)) for one in peers.server.requests] == [
        ("GET", "https://auth.test/.well-known/oauth-authorization-server/tenant/1"),
        ("GET", "https://auth.test/tenant/1/.well-known/openid-configuration"),
        ("POST", "https://auth.test/oauth/token"),
    ]


@pytest.mark.parametrize(
    ("script", "says", "retryable"),
    [
        ([metadata(issuer="https://evil.test")], "of another issuer", False),
        ([metadata(issuer="https://auth.test/")], "of another issuer", False),
        ([metadata(issuer=None)], "of another issuer", False),
        ([metadata(token_endpoint="http://auth.test/token")], "must start with https://", False),
        ([metadata(token_endpoint="http://127.0.0.1/token")], "is on this machine, and the issuer is not", False),
        ([metadata(token_endpoint=None)], "is missing", False),
        ([metadata(token_endpoint=["x"])], "is missing", False),
        ([reply_json(b"<html>")], "no JSON object", True),
        ([reply_json(b'{"issuer": ' + b"[" * 60_000)], "no JSON object", True),
        ([404], "has no metadata", True),
        ([403, 302], "has no metadata", True),
        ([503], "the issuer answered 503", True),
    ],
)
async def test_metadata_that_are_not_taken(script, says, retryable, autojump_clock):
    async with oauth2(*script, **DISCOVER) as (service, peers):
        end = await outcome_of(service.get("/"))
    assert isinstance(end, sg.AuthFailed)
    assert says in end.message
    assert end.retryable is retryable
    assert all(request.method == "GET" for request in peers.server.requests)
    assert not peers.sent


async def test_a_certificate_is_shown_at_the_endpoint_that_asks_for_it(tmp_path):
    cert = tmp_path / "cert.pem"
    cert.write_text("only its being there is looked at: the transport is the test's")
    aliases = {"token_endpoint": "https://mtls.auth.test/token"}
    fields = DISCOVER | {
        "client_auth": "tls_client_auth",
        "client_secret": None,
        "tls": sg.TLSConfig(cert_file=str(cert)),
    }
    async with oauth2(metadata(mtls_endpoint_aliases=aliases), token("one"), **fields) as (service, peers):
        await service.get("/")
    assert str(peers.server.requests[-1].url) == "https://mtls.auth.test/token"
    assert peers.forms[-1] == {"grant_type": "client_credentials", "client_id": "me"}


async def test_a_refusal_tells_nothing_that_was_sent(caplog):
    said = refusal("invalid_client", 401, error_description="unknown s3cret of me")
    async with oauth2(said) as (service, _):
        end = await outcome_of(service.get("/"))
    assert "invalid_client" in end.message
    assert "s3cret" not in caplog.text + str(end)
