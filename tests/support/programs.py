"""Real servers, started by tests as child processes and stopped after them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import asynccontextmanager, contextmanager

import httpx
import pytest
import trio

_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"


def program(name, package):
    """Where a program is. Without it CI fails, and everybody else skips the test."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is not installed: `.ci/run` installs {package} with apt-get")
        pytest.skip(f"{name} is not installed")
    return found


@contextmanager
def child(command, **options):
    """Runs while the block does."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def until(condition, process):
    """Wait until it is true (async, without arguments), or the program has ended."""
    with trio.fail_after(20):
        while not await condition():
            assert process.poll() is None, f"{process.args[0]} has ended with {process.returncode}"
            await trio.sleep(0.02)


async def listens(port, host="127.0.0.1"):
    """Whether anybody accepts connections there."""
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError:
        return False
    await stream.aclose()
    return True


@asynccontextmanager
async def dnsmasq(folder, port, *options):
    """A name server on loopback, for the names in ``folder/hosts`` (lines as in /etc/hosts) and in its options."""
    command = [
        *(program("dnsmasq", "dnsmasq-base"), "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file="),
        *(f"--port={port}", "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv", "--no-hosts"),
        *("--user=", "--log-facility=-", f"--addn-hosts={folder / 'hosts'}", *options),
    ]
    with child(command, stderr=subprocess.DEVNULL) as process:

        async def up():
            return await listens(port)  # it answers over TCP too

        await until(up, process)
        yield process


@asynccontextmanager
async def etcd(folder, port, peer_port):
    """A cluster of one member, whose data is in a folder."""
    here, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    command = [
        *(program("etcd", "etcd-server"), f"--data-dir={folder}", "--log-level=error", "--unsafe-no-fsync"),
        *(f"--listen-client-urls={here}", f"--advertise-client-urls={here}", f"--listen-peer-urls={peers}"),
        *(f"--initial-advertise-peer-urls={peers}", f"--initial-cluster=default={peers}"),
    ]
    with child(command, stderr=subprocess.DEVNULL) as process:
        async with httpx.AsyncClient(base_url=here, trust_env=False) as client:

            async def up():
                try:
                    return (await client.get("/health")).json()["health"] == "true"
                except httpx.TransportError:
                    return False

            await until(up, process)
            yield client
