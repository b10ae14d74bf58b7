"""Names and addresses as a test wants them: a scripted name server, and connections that end up elsewhere."""

from __future__ import annotations

import socket

import trio


class Names(trio.abc.HostnameResolver):
    """Gives each of its answers once, and the last one ever after."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    async def getaddrinfo(self, host, port, family=0, type=0, proto=0, flags=0):
        self.asked.append(host.decode() if isinstance(host, bytes) else host)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        kinds = [(socket.AF_INET6 if ":" in one else socket.AF_INET, one) for one in answer]
        return [(family, socket.SOCK_STREAM, 6, "", (one, port)) for family, one in kinds]

    async def getnameinfo(self, sockaddr, flags):
        raise NotImplementedError


class Reroute(trio.abc.SocketFactory):
    """Sockets that note which address they connect to, and connect to ``there[address]`` in its place.

    An address that is not in ``there`` refuses the connection; one that is there with None never answers.
    """

    def __init__(self, there):
        self.there = there
        self.tried = []

    def socket(self, family, type, proto):
        return _Socket(self, trio.socket.from_stdlib_socket(socket.socket(socket.AF_INET, type)))


class _Socket(trio.socket.SocketType):
    def __init__(self, factory, inner):
        self.factory = factory
        self.inner = inner

    @property
    def type(self):
        return self.inner.type

    async def connect(self, address):
        self.factory.tried.append(address[0])
        if address[0] not in self.factory.there:
            raise ConnectionRefusedError
        port = self.factory.there[address[0]]
        if port is None:
            await trio.sleep_forever()
        await self.inner.connect(("127.0.0.1", port))

    def setsockopt(self, *args):
        self.inner.setsockopt(*args)

    def getsockopt(self, *args):
        return self.inner.getsockopt(*args)

    def close(self):
        self.inner.close()

    def detach(self):
        return self.inner.detach()

    def fileno(self):
        return self.inner.fileno()
