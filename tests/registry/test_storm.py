"""Storms of everything that names instances, with faults in every source, against a model that keeps it as plainly as
can be: no last good set is ever lost, none is seen in part, and no call goes where none should.
"""

from __future__ import annotations

import httpx
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from support.service import ONCE, QUIET, Upstream
from support.sources import Scripted, instances, source
from trio.testing import MockClock

import switchgear as sg

IDS = ("a", "b", "c")
NAMES = ("one", "two")
CHECK = sg.HealthCheckConfig(healthy_threshold=1, unhealthy_threshold=1, timeout=1.0)
TTL = 1000.0

sets = st.dictionaries(st.sampled_from(IDS), st.sampled_from([0.0, 1.0, 2.0]))
steps = st.one_of(
    *([st.tuples(st.just("say"), st.sampled_from(NAMES), sets)] * 4),
    st.tuples(st.just("say twice"), st.sampled_from(NAMES), sets),
    st.tuples(st.sampled_from(["same", "fail", "crash"]), st.sampled_from(NAMES)),
    st.tuples(st.just("flap"), st.sampled_from(NAMES), sets, sets),
    st.tuples(
        st.just("register"), st.sampled_from(IDS), st.sampled_from([0.0, 1.0, 5.0]), st.sampled_from([None, TTL])
    ),
    st.tuples(st.just("deregister"), st.sampled_from(IDS)),
    st.tuples(st.just("configure"), st.lists(st.sampled_from(NAMES), unique=True), sets),
    *([st.tuples(st.just("check"), st.sets(st.sampled_from(IDS)))] * 3),
    st.tuples(st.sampled_from(["silence", "crash of the registry", "call", "call"])),
)


class Model:
    def __init__(self):
        self.registered = {}  # id -> weight
        self.leased = set()
        self.static = {}
        self.said = {name: {} for name in NAMES}  # the sources that are configured, in order
        self.down = set()
        self.health = {}  # of all that are there
        self.broken = set()

    def named(self, id):
        """The weights that it has by those who name it, the one that counts first; and who they are."""
        holders = {"registered": self.registered, "static": self.static, **self.said}
        return {name: holder[id] for name, holder in holders.items() if id in holder}

    def settle(self, gone=()):
        """After a step. ``gone``: ids that somebody wants gone if nobody else names them."""
        for one in IDS:
            if self.named(one):
                self.health.setdefault(one, "unknown")
            elif one in gone or self.health.get(one) != "healthy":
                self.health.pop(one, None)

    @property
    def known(self):
        return {one: self.named(one) for one in self.health}

    @property
    def routable(self):
        """Who has a weight: what is kept for its health has the one that it had."""
        return {
            one
            for one, health in self.health.items()
            if health != "unhealthy" and next(iter(self.named(one).values()), self.last.get(one)) > 0
        }

    def remember(self):
        self.last = {one: next(iter(self.named(one).values()), self.last.get(one)) for one in self.health}

    last = {}  # noqa: RUF012 - replaced, never changed


def config(model):
    static = instances(model.static)
    sources = [source(name) for name in model.said]
    fields = {"retry": ONCE, "health_check": CHECK, "panic_threshold": 0.0}  # in a panic the unhealthy are used too
    return sg.ServiceConfig("svc", instances=static, sources=sources, **fields)


class Storm:
    def __init__(self, scripted, runtime, upstream):
        self.scripted, self.runtime, self.upstream = scripted, runtime, upstream
        self.model = Model()

    async def step(self, step):
        what, *details = step
        method = getattr(self, what.replace(" ", "_"))
        if what in {"say", "say twice", "same", "fail", "crash", "flap"} and details[0] not in self.model.said:
            return
        await method(*details)
        await trio.testing.wait_all_tasks_blocked()
        self.model.remember()

    async def say(self, name, said):
        self.model.said[name] = said
        self.model.down.discard(name)
        self.model.settle()
        await self.scripted.say(name, said)

    async def say_twice(self, name, said):
        """Of two with one id, the first counts."""
        await self.scripted.say_exactly(name, instances(said) + instances(dict.fromkeys(said, 77.0)))
        self.model.said[name] = said
        self.model.down.discard(name)
        self.model.settle()

    async def same(self, name):
        self.model.down.discard(name)
        await self.scripted.say(name, None)

    async def fail(self, name):
        self.model.down.add(name)
        await self.scripted.fail(name, "no answer")

    async def crash(self, name):
        self.model.down.add(name)
        await self.scripted.crash(name)
        await trio.sleep(31)

    async def flap(self, name, said, then):
        await self.say(name, said)
        self.model.remember()
        await self.fail(name)
        await self.crash(name)
        await self.say(name, then)

    async def register(self, one, weight, ttl):
        self.model.registered[one] = weight
        self.model.leased.discard(one)
        self.model.leased |= {one} if ttl else set()
        self.model.settle()
        put = sg.ServiceInstance(one, "svc", endpoint=f"http://{one}.test", weight=weight)
        await self.runtime.registry.register(put, ttl=ttl)

    async def deregister(self, one):
        mine = one in self.model.registered or one in self.model.static
        known = one in self.model.health and (mine or not self.model.named(one))
        self.model.registered.pop(one, None)
        self.model.leased.discard(one)
        self.model.static.pop(one, None)
        self.model.settle(gone={one})
        assert await self.runtime.registry.deregister("svc", one) is known

    async def configure(self, names, static):
        model = self.model
        gone = {one for name in model.said.keys() - set(names) for one in model.said[name]} | model.static.keys()
        model.said = {name: model.said.get(name, {}) for name in names}
        model.down &= set(names)
        model.static = dict(static)
        model.settle(gone)
        await self.runtime.reconfigure("svc", config(model))

    async def silence(self):
        gone, self.model.leased = self.model.leased, set()
        for one in gone:
            del self.model.registered[one]
        self.model.settle(gone)
        await trio.sleep(TTL * 5 + 2)

    async def crash_of_the_registry(self):
        await self.runtime.registry._ref.tell("no message of yours")
        await trio.sleep(31)

    async def check(self, broken):
        self.model.broken = broken
        for one in self.model.health:
            self.model.health[one] = "unhealthy" if one in self.model.broken else "healthy"
        await self.runtime.health.check("svc")
        self.model.settle()

    async def call(self):
        self.upstream.requests.clear()
        response = await self.runtime.service("svc").try_request("GET", "/")
        if self.model.routable:
            assert response.success
            assert self.upstream.requests[-1].url.host.removesuffix(".test") in self.model.routable
        else:
            assert isinstance(response.error, sg.NoHealthyInstances)

    async def look(self, seen):
        model = self.model
        found = await self.runtime.registry.discover("svc")
        assert {one.id: one.sources for one in found} == {one: tuple(named) for one, named in model.known.items()}
        assert {one.id: one.weight for one in found} == model.last
        assert {one.id: one.health.value for one in found} == model.health
        assert {one.id for one in seen[-1].routable} == model.routable
        status = await self.runtime.registry.sources("svc")
        assert {one.name: one.instances for one in status} == {name: len(said) for name, said in model.said.items()}
        assert {one.name for one in status if one.error is not None} == model.down


async def collect(registry, seen):
    async with registry.watch("svc") as changes:
        async for one in changes:
            seen.append(one)


@settings(max_examples=100)
@given(st.lists(steps, min_size=5, max_size=25), st.integers(0, 5))
def test_whatever_comes_no_last_good_set_is_lost(storm, seed) -> None:
    with pytest.MonkeyPatch.context() as patch:
        trio.run(run_storm, Scripted(patch), storm, seed, clock=MockClock(autojump_threshold=0))


async def run_storm(scripted, storm, seed):
    def answer(request):
        broken = request.url.host.removesuffix(".test") in weather.model.broken
        return httpx.ConnectError("broken") if broken and request.url.path == "/health" else 200

    upstream, seen = Upstream(answer), []
    on_demand = sg.RegistryConfig(check_health=False)
    everything = sg.RuntimeConfig((config(Model()),), metrics=QUIET, registry=on_demand)
    async with (
        sg.open_runtime(everything, transport=upstream, seed=seed) as runtime,
        trio.open_nursery() as nursery,
    ):
        weather = Storm(scripted, runtime, upstream)
        nursery.start_soon(collect, runtime.registry, seen)
        await trio.testing.wait_all_tasks_blocked()
        for step in storm:
            before = seen[-1].version
            await weather.step(step)
            await weather.look(seen)
            if step[0] not in {"check", "flap", "silence"}:
                assert seen[-1].version - before <= 1  # what is one word is one change
        nursery.cancel_scope.cancel()


words = st.lists(st.tuples(st.sampled_from(NAMES), st.one_of(sets, st.just("crash"), st.just("fail"))), max_size=30)


@settings(max_examples=60)
@given(words, st.lists(st.tuples(st.sampled_from(IDS), st.booleans()), max_size=20), st.integers(0, 5))
def test_all_at_once_no_set_is_ever_seen_in_part(words, registrations, seed) -> None:
    with pytest.MonkeyPatch.context() as patch:
        trio.run(run_at_once, Scripted(patch), words, registrations, seed, clock=MockClock(autojump_threshold=0))


async def run_at_once(scripted, words, registrations, seed):
    said = {name: [{}] for name in NAMES}
    seen = []

    async def speak(name):
        for who, word in words:
            if who != name:
                continue
            if word == "crash":
                await scripted.crash(name)
            elif word == "fail":
                await scripted.fail(name, "no answer")
            else:
                said[name].append(word)
                await scripted.say(name, word)

    async def register(registry):
        for one, there in registrations:
            if there:
                await registry.register(sg.ServiceInstance(one, "svc", endpoint=f"http://{one}.test"))
            else:
                await registry.deregister("svc", one)

    everything = sg.RuntimeConfig((config(Model()),), metrics=QUIET, registry=sg.RegistryConfig(check_health=False))
    async with (
        sg.open_runtime(everything, transport=Upstream(200), seed=seed) as runtime,
        trio.open_nursery() as watching,
    ):
        watching.start_soon(collect, runtime.registry, seen)
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(register, runtime.registry)
            for name in NAMES:
                nursery.start_soon(speak, name)
        await trio.sleep(1000)  # until those that have crashed have said their last words
        found = await runtime.registry.discover("svc")
        for name in NAMES:
            assert {one.id for one in found if name in one.sources} == said[name][-1].keys()
        watching.cancel_scope.cancel()
    for state in seen:
        for name in NAMES:
            part = {one.id for one in state.instances if name in one.sources}
            assert part in [set(one) for one in said[name]]
        assert all(one.weight > 0 and one.health != "unhealthy" for one in state.routable)
