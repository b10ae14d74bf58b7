"""Starts what is called: two addresses each of a plain, a TLS and a slow server, on a core that no client runs on.

nginx where it is installed, else `serve.py`; the slow one is always that.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .serve import BODY

HOST = "127.0.0.1"
DELAY = 0.02
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
CONFIG = """
daemon off;
master_process off;
pid {here}/pid;
error_log {here}/error.log;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {here}/body;
    proxy_temp_path {here}/proxy;
    fastcgi_temp_path {here}/fastcgi;
    uwsgi_temp_path {here}/uwsgi;
    scgi_temp_path {here}/scgi;
    default_type application/json;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    {tls}
    server {{
        {listen}
        location / {{
            add_header X-Request-ID $http_x_request_id;
            return 200 '{body}';
        }}
    }}
}}
"""


@dataclass(frozen=True)
class Server:
    """Where two instances of the same service are."""

    kind: str
    urls: tuple[str, ...]
    """Below each, every path has the same answer."""
    ca: str | None = None
    """PEM file of who signed the certificate."""


def cores() -> tuple[int, int] | None:
    """One for the clients and one for the server, or None where there is no choice."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    here = sorted(os.sched_getaffinity(0))
    return (here[0], here[1]) if len(here) > 1 else None


@contextmanager
def on_core(which: int) -> Iterator[None]:
    """Processes that are started in this block stay on the core of the clients (0), or on that of the server (1)."""
    choice = cores()
    if choice is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {choice[which]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def unused_ports(count: int) -> list[int]:
    """Nobody listens there now."""
    sockets = [socket.create_server((HOST, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def running(command: Sequence[str], ports: Sequence[int]) -> Iterator[None]:
    """A server as a process: it listens when the block begins, and is gone when it ends."""
    with on_core(1):
        process = subprocess.Popen(command, stdin=subprocess.PIPE)
    with process:
        try:
            for port in ports:
                _wait_for(process, port)
            yield
        finally:
            process.terminate()


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((HOST, port)).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not start: {process.args!r}") from None
            time.sleep(0.01)


def ours(ports: Sequence[int], **options: Any) -> list[str]:
    """The command of our own server."""
    return [sys.executable, "-m", "benchmarks.call.serve", json.dumps({"ports": ports, **options})]


def nginx(here: Path, ports: Sequence[int], cert: str = "", key: str = "") -> list[str]:
    """The command of nginx, with a configuration in a folder of its own."""
    listen = " ".join(f"listen {HOST}:{port} backlog=4096{' ssl' if cert else ''};" for port in ports)
    tls = f"ssl_certificate {cert}; ssl_certificate_key {key};" if cert else ""
    here.mkdir()
    config = here / "nginx.conf"
    config.write_text(CONFIG.format(here=here, listen=listen, tls=tls, body=BODY.decode()))
    assert NGINX is not None
    return [NGINX, "-c", str(config), "-p", str(here), "-e", str(here / "error.log")]


@contextmanager
def plain() -> Iterator[Server]:
    """Answers at once."""
    ports = unused_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        command = ours(ports) if NGINX is None else nginx(Path(folder) / "nginx", ports)
        with running(command, ports):
            yield Server(software(), tuple(f"http://{HOST}:{port}" for port in ports))


@contextmanager
def secure() -> Iterator[Server]:
    """Answers at once, over TLS, with a certificate made for the occasion."""
    import trustme

    ports = unused_ports(2)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        authority = trustme.CA()
        one = authority.issue_cert(HOST)
        files = {"cert": str(here / "cert.pem"), "key": str(here / "key.pem")}
        one.private_key_pem.write_to_path(files["key"])
        one.cert_chain_pems[0].write_to_path(files["cert"])
        authority.cert_pem.write_to_path(str(here / "ca.pem"))
        command = ours(ports, **files) if NGINX is None else nginx(here / "nginx", ports, **files)
        with running(command, ports):
            yield Server(software(), tuple(f"https://{HOST}:{port}" for port in ports), str(here / "ca.pem"))


@contextmanager
def slow() -> Iterator[Server]:
    """Answers late."""
    ports = unused_ports(2)
    with running(ours(ports, delay=DELAY), ports):
        yield Server("our own", tuple(f"http://{HOST}:{port}" for port in ports))


def software() -> str:
    """What answers at once here."""
    if NGINX is None:
        return "our own"
    said = subprocess.run([NGINX, "-v"], stderr=subprocess.PIPE, check=True, text=True).stderr
    return said.rpartition(" ")[2].strip()


def has_trustme() -> bool:
    """Else there is no TLS here."""
    return importlib.util.find_spec("trustme") is not None


def trusting(ca: str | None) -> ssl.SSLContext | None:
    """What a client needs that takes a context."""
    return None if ca is None else ssl.create_default_context(cafile=ca)
