"""The examples of OAuth2 in docs/authentication.rst, as they stand. tests/auth/test_oauth2_examples.py runs them."""

# --- begin client
import os

import switchgear as sg

SECRET = sg.Secret(os.environ.get("SHOP_SECRET", "for tests"))

billing = sg.ServiceConfig(
    "billing",
    "https://billing.example",
    auth=sg.OAuth2Auth(
        token_url="https://login.example/oauth/token",
        client_id="shop",
        client_secret=SECRET,
        scope=["invoices.read"],
        resource=["https://billing.example/"],
    ),
)
# --- end client

# --- begin signed
from pathlib import Path


def ledger(key_file: Path) -> sg.ServiceConfig:
    """A service whose authorization server wants a signature and no password."""
    auth = sg.OAuth2Auth(
        issuer="https://login.example",
        client_id="shop",
        client_auth="private_key_jwt",
        private_key=sg.Secret(key_file.read_text()),
    )
    return sg.ServiceConfig("ledger", "https://ledger.example", auth=auth)


# --- end signed


# --- begin person
def calendar(refresh_token: sg.Secret, folder: Path, key: sg.Secret) -> sg.ServiceConfig:
    """A service that somebody has let us use in his name."""
    auth = sg.OAuth2Auth(
        token_url="https://login.example/oauth/token",
        client_id="shop",
        client_secret=SECRET,
        grant="refresh_token",
        refresh_token=refresh_token,
        store=sg.TokenFile(str(folder), keys=[key]),
    )
    return sg.ServiceConfig("calendar", "https://calendar.example", auth=auth)


# --- end person

# --- begin test
import httpx


def peers(request: httpx.Request) -> httpx.Response:
    """The authorization server and the service, as far as the test needs them."""
    if request.url.host == "login.example":
        return httpx.Response(200, json={"access_token": "t1", "token_type": "Bearer", "expires_in": 3600})
    right = request.headers["Authorization"] == "Bearer t1"
    return httpx.Response(200 if right else 401, json={"invoices": 3})


async def test_that_invoices_are_read(autojump_clock) -> None:
    config = sg.RuntimeConfig([billing], metrics=sg.MetricsConfig(websocket=False))
    async with sg.open_runtime(config, transport=httpx.MockTransport(peers)) as runtime:
        answer = await runtime.service("billing").get("/invoices", type=dict[str, int])
    assert answer.data == {"invoices": 3}


# --- end test
