"""A real authorization server: npm oidc-provider on node, started for a test (authorization_server/server.js).

`.ci/run` installs it; elsewhere: `npm install` in that folder, or SWITCHGEAR_OIDC_PROVIDER names one that has it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

HERE = Path(__file__).parent / "authorization_server"
HOME = Path(os.environ.get("SWITCHGEAR_OIDC_PROVIDER", HERE))
SECRET = "pass word+&=:%"  # as in server.js
NODE = shutil.which("node")


def needed():
    """Skips the test where there is no server; fails it in CI, which installs one."""
    if NODE is not None and (HOME / "node_modules" / "oidc-provider").is_dir():
        return
    if os.environ.get("CI") == "true":
        pytest.fail("oidc-provider is not installed: `.ci/run` installs node and it")
    pytest.skip("oidc-provider is not installed")


class Server:
    """``issuer``, and a first ``refresh_token`` of the client "person"."""

    def __init__(self, said):
        self.issuer = said["issuer"]
        self.refresh_token = said["refresh_token"]

    @property
    def token_url(self):
        return f"{self.issuer}/token"

    async def is_active(self, token):
        """Whether the server knows this token and takes it to be good, as a resource server asks (RFC 7662)."""
        async with httpx.AsyncClient(trust_env=False) as client:
            form = {"client_id": "post", "client_secret": SECRET, "token": token}
            answer = await client.post(f"{self.issuer}/token/introspection", data=form)
        return answer.json()


@asynccontextmanager
async def authorization_server(*, jwks=(), ttl=600):
    """Runs it. ``jwks``: public keys of the client that signs; ``ttl``: of its access tokens, in seconds."""
    needed()
    settings = json.dumps({"jwks": {"keys": list(jwks)}, "ttl": ttl})
    # Read from the command line, a module finds its packages from the working directory on.
    command = [NODE, "--input-type=module", "--eval", (HERE / "server.js").read_text()]
    env = {"SETTINGS": settings, "PATH": os.environ["PATH"]}
    process = await trio.lowlevel.open_process(
        command, cwd=HOME, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        with trio.fail_after(30):
            yield Server(json.loads(await _line(process.stdout)))
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await process.stdin.aclose()
            await process.stdout.aclose()


async def _line(stream):
    data = b""
    while not data.endswith(b"\n"):
        data += await stream.receive_some() or b"\n"
    return data
