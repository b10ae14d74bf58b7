"""The examples of docs/authentication.rst, as they stand there. tests/auth/test_examples.py runs them."""

# --- begin fixed
import os

import switchgear as sg

KEY = sg.Secret(os.environ.get("SEARCH_KEY", "for tests"))

fixed = [
    sg.ServiceConfig("search", "https://search.example", auth=sg.ApiKeyAuth(KEY)),
    sg.ServiceConfig("maps", "https://maps.example", auth=sg.ApiKeyAuth(KEY, name="key", location="query")),
    sg.ServiceConfig("mail", "https://mail.example", auth=sg.BasicAuth("shop", KEY)),
    sg.ServiceConfig("chat", "https://chat.example", auth=sg.BearerAuth(KEY)),
]
# --- end fixed

# --- begin file
from_file = sg.ServiceConfig(
    "billing",
    "https://billing.example",
    auth=sg.BearerAuth(token_file="/var/run/secrets/tokens/billing"),
)
# --- end file

# --- begin function
import httpx


async def token_of_the_machine() -> tuple[str, float]:
    """The token, and the seconds for which it is good."""
    async with httpx.AsyncClient(transport=sg.PooledTransport()) as client:
        answer = await client.get("http://127.0.0.1:8080/token", timeout=5)
    said = answer.raise_for_status().json()
    return said["token"], said["expires_in"]


from_function = sg.ServiceConfig(
    "ledger", "https://ledger.example", auth=sg.BearerAuth(token_from=token_of_the_machine)
)
# --- end function

# --- begin signing
import hashlib
import hmac


class Signature:
    """An HMAC over what is sent, as the service checks it."""

    def __init__(self, key: sg.Secret) -> None:
        self._key = key

    async def authenticate(self, request: sg.AuthRequest) -> dict[str, str]:
        """The header with it."""
        said = f"{request.method}\n{request.url}\n".encode() + (request.body or b"")
        return {"X-Signature": hmac.new(self._key.reveal().encode(), said, hashlib.sha256).hexdigest()}


signed = sg.ServiceConfig("payments", "https://payments.example", auth=sg.CustomAuth(Signature(KEY)))
# --- end signing


# --- begin session
class Session:
    """Logs in by a service of its own, and stays so until it is thrown out."""

    def __init__(self, login: sg.Service, password: sg.Secret) -> None:
        self._login = login
        self._password = password
        self._session = ""

    async def refresh(self) -> float | None:
        """Log in; the session is good for so many seconds."""
        answer = await self._login.post("/sessions", json={"password": self._password.reveal()})
        self._session = answer.data["session"]
        return float(answer.data["seconds"])

    async def authenticate(self, request: sg.AuthRequest) -> dict[str, str]:
        """The session's header."""
        return {"X-Session": self._session}


async def add_the_archive(runtime: sg.Runtime) -> sg.Service:
    """A service that one logs in to."""
    sg.register_auth("archive", lambda _: Session(runtime.service("login"), KEY))
    return await runtime.add_service(
        sg.ServiceConfig("archive", "https://archive.example", auth=sg.CustomAuth("archive"))
    )


# --- end session

# --- begin httpx
digest = sg.ServiceConfig(
    "printer", "https://printer.example", auth=sg.CustomAuth(httpx.DigestAuth("shop", KEY.reveal()))
)
# --- end httpx
