"""The examples of OAuth2 in docs/authentication.rst, run as they stand there."""

import runpy
from pathlib import Path
from urllib.parse import parse_qs

from cryptography.fernet import Fernet
from joserfc.jwk import ECKey
from support.oauth2 import token
from support.service import QUIET, Upstream, reply_json

import switchgear as sg

EXAMPLES = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "examples" / "oauth2.py"))
test_that_invoices_are_read = EXAMPLES["test_that_invoices_are_read"]


async def asked(config, *script):
    """What the authorization server is asked with for one call."""
    upstream = Upstream(*script, token("t1", refresh_token="r1"), 200)
    async with sg.open_runtime(sg.RuntimeConfig((config,), metrics=QUIET), transport=upstream, seed=1) as runtime:
        assert (await runtime.service(config.name).get("/")).success
    return parse_qs(upstream.requests[len(script)].content.decode())


async def test_a_signature_in_place_of_a_password(tmp_path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
    said = reply_json(b'{"issuer": "https://login.example", "token_endpoint": "https://login.example/token"}')
    assert "client_assertion" in await asked(EXAMPLES["ledger"](path), said)


async def test_in_the_name_of_somebody(tmp_path) -> None:
    key = sg.Secret(Fernet.generate_key().decode())
    form = await asked(EXAMPLES["calendar"](sg.Secret("r0"), tmp_path, key))
    assert form["refresh_token"] == ["r0"]
    form = await asked(EXAMPLES["calendar"](sg.Secret("r0"), tmp_path, key))
    assert form["refresh_token"] == ["r1"]
