"""The five services of the demo, each as one function from request to answer, with the fault that it is there for.

They know nothing of sockets or processes (`servers.py`), and take time and chance as they are given them, so that a
seed decides what they do. Answers are typed JSON: the Structs here are also what the demo's callers decode into.
"""

from __future__ import annotations

import random
from email.utils import formatdate

import msgspec
import trio

from switchgear.runtime.wall import wall_time

from .http import Answer, Received, json_answer


class Account(msgspec.Struct):
    """What ``accounts`` answers to GET /accounts/{id}."""

    id: str
    owner: str
    balance: int
    """In cents."""


class Charge(msgspec.Struct):
    """What a POST /charges is answered with, by ``payments`` and by ``accounts`` in its place."""

    id: str
    amount: int
    status: str


class Results(msgspec.Struct):
    """What ``search`` answers to GET /search?q=..."""

    query: str
    hits: list[str]
    instance: str


class Quote(msgspec.Struct):
    """What ``partner`` answers to GET /quotes/{symbol}."""

    symbol: str
    price: float


class Invoice(msgspec.Struct):
    """What ``legacy`` answers to GET /invoices/{number}."""

    number: str
    total: int


class Order(msgspec.Struct):
    """The body of POST /charges."""

    amount: int


class Demonstrator:
    """One service of the demo.

    Args:
        seed: of everything that chance decides.
        seconds: how long the demo takes; faults that come and go are spread over it.
        instance: which of a service's instances this is, from 1.
    """

    def __init__(self, *, seed: int, seconds: float, instance: int) -> None:
        self.rng = random.Random(f"{seed}/{type(self).__name__}/{instance}")
        self.seconds = seconds
        self.instance = instance

    def takes(self) -> bool:
        """Whether to talk to a new connection, or to close it at once."""
        return True

    async def answer(self, request: Received) -> Answer | None:
        """The answer to any request."""
        if request.method == "GET" and request.path == "/health":
            return json_answer({"status": "up"})
        return await self.serve(request)

    async def serve(self, request: Received) -> Answer | None:
        """The answer to a request that is no health check."""
        raise NotImplementedError

    async def work(self, shortest: float, longest: float) -> None:
        """Take some time (seconds)."""
        await trio.sleep(self.rng.uniform(shortest, longest))


class Accounts(Demonstrator):
    """Healthy. It also takes charges that ``payments`` cannot take, onto the customer's account."""

    async def serve(self, request: Received) -> Answer | None:
        """See the class."""
        await self.work(0.002, 0.006)
        if request.path == "/charges":
            return _charge(request, self.rng, "on account")
        _, _, number = request.path.rpartition("/")
        return json_answer(Account(number, f"Customer {number}", self.rng.randrange(100_000)))


class Search(Demonstrator):
    """Instance 3 is slow, though as healthy as the others."""

    async def serve(self, request: Received) -> Answer | None:
        """See the class."""
        await (self.work(0.25, 0.4) if self.instance == 3 else self.work(0.005, 0.015))
        query = request.query.get("q", "")
        return json_answer(Results(query, [f"{query} {number}" for number in range(3)], f"search-{self.instance}"))


class Payments(Demonstrator):
    """Fails from a quarter of the demo to its middle, counted from the first request."""

    first: float | None = None

    async def serve(self, request: Received) -> Answer | None:
        """See the class."""
        now = trio.current_time()
        if self.first is None:
            self.first = now
        await self.work(0.005, 0.02)
        if 0.25 <= (now - self.first) / self.seconds < 0.5:
            return json_answer({"error": "the database is away"}, status=self.rng.choice((500, 503)))
        return _charge(request, self.rng, "paid")


class Partner(Demonstrator):
    """Answers 10 requests a second, and the rest with 429 and a Retry-After in one of its two forms."""

    second = -1
    answered = 0  # in that second

    async def serve(self, request: Received) -> Answer | None:
        """See the class."""
        await self.work(0.01, 0.03)
        # Counted by whole seconds of the wall, as many real ones do: then a date says exactly when the next begins.
        now = int(wall_time())
        if now != self.second:
            self.second, self.answered = now, 0
        self.answered += 1
        if self.answered > 10:
            after = "1" if self.rng.random() < 0.5 else formatdate(now + 1, usegmt=True)
            return json_answer({"error": "too many requests"}, status=429, retry_after=after)
        _, _, symbol = request.path.rpartition("/")
        return json_answer(Quote(symbol, round(self.rng.uniform(1, 500), 2)))


class Legacy(Demonstrator):
    """Drops connections: when they come, when a request has come, or in the middle of its answer."""

    def takes(self) -> bool:
        """Not always."""
        return self.rng.random() > 0.05

    async def serve(self, request: Received) -> Answer | None:
        """See the class."""
        await self.work(0.01, 0.04)
        _, _, number = request.path.rpartition("/")
        whole = json_answer(Invoice(number, self.rng.randrange(10_000)))
        fate = self.rng.random()
        if fate < 0.05:
            return None
        if fate < 0.15:
            return Answer(whole.status, whole.headers, whole.body, cut=len(whole.body) // 2)
        return whole


def _charge(request: Received, rng: random.Random, status: str) -> Answer:
    try:
        order = msgspec.json.decode(request.body, type=Order)
    except msgspec.DecodeError as error:
        return json_answer({"error": str(error)}, status=400)
    return json_answer(Charge(f"ch-{rng.getrandbits(32):08x}", order.amount, status), status=201)


SERVICES: dict[str, type[Demonstrator]] = {
    "accounts": Accounts,
    "search": Search,
    "payments": Payments,
    "partner": Partner,
    "legacy": Legacy,
}
