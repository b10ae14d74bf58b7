"""Storms of registrations, configurations, checks and crashes, against a naive model, in virtual time.

Each example is one runtime. Whatever comes: what is published is never torn, versions grow by one, what is routable
follows from what is published, and what the registry says is what the model says.
"""

from __future__ import annotations

import itertools

import httpx
import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from support.service import ONCE, QUIET, Upstream, drain
from trio.testing import MockClock

import switchgear as sg
from switchgear.actors.events import InstanceDeregistered, InstanceHealthChanged, InstanceRegistered

IDS = ("a", "b", "c")
HOSTS = ("h0", "h1", "h2")
FALL, RISE = 2, 2
CHECK = sg.HealthCheckConfig(healthy_threshold=RISE, unhealthy_threshold=FALL, interval=10.0, jitter=0.5, timeout=1.0)

steps = st.one_of(
    st.tuples(st.just("register"), st.sampled_from(IDS), st.sampled_from(HOSTS), st.sampled_from([0.0, 1.0, 2.5])),
    st.tuples(st.just("deregister"), st.sampled_from(IDS)),
    st.tuples(st.just("configure"), st.lists(st.sampled_from(IDS), unique=True), st.sampled_from([CHECK, None])),
    st.tuples(st.just("break"), st.sampled_from(HOSTS)),
    st.tuples(st.just("mend"), st.sampled_from(HOSTS)),
    st.tuples(st.just("check")),
    st.tuples(st.just("crash")),
    st.tuples(st.just("call")),
)


class Model:
    """What the registry should know: who names which id, and its health; kept as plainly as can be."""

    def __init__(self):
        self.registered = {}  # id -> host, weight
        self.configured = {}
        self.health = {}
        self.check = CHECK
        self.history = {}  # id -> outcomes of the checks since the thresholds began
        self.events = []

    @property
    def known(self):
        return {name: (*said, self.health[name]) for name, said in (self.configured | self.registered).items()}

    def look(self):
        """Note who has come and who has gone."""
        there = self.configured | self.registered
        for name in there.keys() - self.health.keys():
            self.health[name] = "unknown"
            self.events.append(("registered", name))
        for name in self.health.keys() - there.keys():
            del self.health[name]
            self.history.pop(name, None)
            self.events.append(("deregistered", name))

    def register(self, name, host, weight):
        self.registered[name] = (host, weight)
        self.look()

    def deregister(self, name):
        self.registered.pop(name, None)
        self.configured.pop(name, None)
        self.look()

    def configure(self, names, check):
        self.configured = dict.fromkeys(names, ("h0", 1.0))
        self.look()
        if check != self.check:
            self.check = check
            self.history.clear()
            for name in list(self.health) if check is None else ():
                self.decide(name, "unknown")

    def decide(self, name, health):
        if health != self.health[name]:
            self.events.append((health, name))
        self.health[name] = health

    def observe(self, broken):
        """One round of checks."""
        for name, (host, _, _) in list(self.known.items()) if self.check is not None else ():
            outcomes = self.history.setdefault(name, [])
            outcomes.append(host not in broken)
            self.decide(name, "healthy" if _belief(outcomes) else "unhealthy")

    @property
    def routable(self):
        return {name for name, (_, weight, health) in self.known.items() if weight > 0 and health != "unhealthy"}

    @property
    def used(self):
        """All with a weight, if less than half of those are healthy."""
        weighty = {name for name, (_, weight, _) in self.known.items() if weight > 0}
        return weighty if 2 * len(self.routable) < len(weighty) else self.routable


def _belief(outcomes):
    """Replay all outcomes: the first decides, then it takes so many in a row of the other kind."""
    belief, others = outcomes[0], 0
    for one in outcomes[1:]:
        others = 0 if one is belief else others + 1
        if others == (RISE if one else FALL):
            belief, others = one, 0
    return belief


def told(events):
    kinds = {InstanceRegistered: "registered", InstanceDeregistered: "deregistered"}
    for one in drain(events):
        if isinstance(one, InstanceHealthChanged):
            yield (one.health, one.instance)
        elif type(one) in kinds:
            yield (kinds[type(one)], one.instance)


@settings(max_examples=150)
@given(st.lists(steps, max_size=25), st.integers(0, 5))
def test_whatever_comes_the_registry_is_right(storm, seed) -> None:
    trio.run(run_storm, storm, seed, clock=MockClock(autojump_threshold=0))


def still(instance):
    """All of it but when it was last seen, which is no change."""
    return msgspec.structs.replace(instance, last_seen=0.0)


async def collect(registry, seen):
    async with registry.watch("svc") as changes:
        async for one in changes:
            seen.append(one)


async def run_storm(storm, seed):
    broken = set()

    def answer(request):
        if request.url.host in broken and request.url.path == "/health":
            return httpx.ConnectError("broken")
        return 200

    model, upstream, seen = Model(), Upstream(answer), []
    config = sg.ServiceConfig("svc", instances=(), retry=ONCE, health_check=CHECK)
    on_demand = sg.RegistryConfig(check_health=False)  # checks are made when the storm says so
    everything = sg.RuntimeConfig((config,), metrics=QUIET, registry=on_demand)
    opened = sg.open_runtime(everything, transport=upstream, seed=seed)
    async with opened as runtime, runtime.events() as events, trio.open_nursery() as nursery:
        nursery.start_soon(collect, runtime.registry, seen)
        await trio.testing.wait_all_tasks_blocked()
        for step in storm:
            await perform(step, model, runtime, upstream, broken)
            await trio.testing.wait_all_tasks_blocked()
            found = await runtime.registry.discover("svc")
            assert {one.id: (one.endpoint[7:], one.weight, one.health.value) for one in found} == model.known
            assert sorted(told(events)) == sorted(model.events)
            model.events.clear()
            assert {one.id for one in seen[-1].routable} == model.routable
        nursery.cancel_scope.cancel()
    check_published(seen)


async def perform(step, model, runtime, upstream, broken):
    match step:
        case ("register", name, host, weight):
            model.register(name, host, weight)
            await runtime.registry.register(sg.ServiceInstance(name, "svc", endpoint=f"http://{host}", weight=weight))
        case ("deregister", name):
            assert await runtime.registry.deregister("svc", name) is (name in model.known)
            model.deregister(name)
        case ("configure", names, check):
            model.configure(names, check)
            instances = tuple(sg.InstanceConfig("http://h0", name) for name in names)
            config = sg.ServiceConfig("svc", instances=instances, retry=ONCE, health_check=check)
            await runtime.reconfigure("svc", config)
        case ("break", host):
            broken.add(host)
        case ("mend", host):
            broken.discard(host)
        case ("check",):
            model.observe(broken)
            result = await runtime.health.check("svc")
            assert len(result.instances) == (len(model.known) if model.check is not None else 0)
        case ("crash",):
            await runtime.registry._ref.tell("no message of yours")
            await trio.sleep(60)  # so that crashes stay rare enough for its supervisor
        case ("call",):
            await call(model, runtime, upstream)


async def call(model, runtime, upstream):
    upstream.requests.clear()
    response = await runtime.service("svc").try_request("GET", "/")
    if model.used:
        assert response.success
        assert upstream.requests[-1].url.host in {model.known[name][0] for name in model.used}
        assert set(runtime.service("svc").instances.used) == model.used
    else:
        assert isinstance(response.error, sg.NoHealthyInstances)


def check_published(seen):
    """Every set that was published, in itself and against the one before."""
    for one in seen:
        routable = tuple(each for each in one.instances if each.weight > 0 and each.health.value != "unhealthy")
        assert one.routable == routable
        assert len({each.id for each in one.instances}) == len(one.instances)
    versions = [one.version for one in seen]
    assert all(later > before for before, later in itertools.pairwise(versions))


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from([0.0, 1.0, None])), max_size=30), st.integers(0, 5))
def test_a_version_is_one_change(changes, seed) -> None:

    async def main():
        config = sg.RuntimeConfig((sg.ServiceConfig("svc", retry=ONCE),), metrics=QUIET)
        async with sg.open_runtime(config, transport=Upstream(200), seed=seed) as runtime:
            registry = runtime.registry
            changed = []

            async def change(name, weight):
                if weight is None:
                    changed.append(await registry.deregister("svc", name))
                    return
                before = {one.id: one.weight for one in await registry.discover("svc")}
                put = await registry.register(sg.ServiceInstance(name, "svc", endpoint="http://h", weight=weight))
                changed.append((put.id, put.weight) not in before.items())

            async with registry.watch("svc") as watch:
                first = (await anext(watch)).version
                for name, weight in changes:
                    await change(name, weight)
                await registry.register(sg.ServiceInstance("last", "svc", endpoint="http://h"))
                assert (await anext(watch)).version == first + sum(changed) + 1

    trio.run(main)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from([0.0, 1.0, None])), max_size=40), st.integers(0, 5))
def test_many_at_once_leave_a_whole(changes, seed) -> None:
    async def main():
        config = sg.RuntimeConfig((sg.ServiceConfig("svc", retry=ONCE),), metrics=QUIET)
        seen = []
        async with sg.open_runtime(config, transport=Upstream(200), seed=seed) as runtime:
            registry = runtime.registry

            async def change(name, weight):
                if weight is None:
                    await registry.deregister("svc", name)
                else:
                    await registry.register(sg.ServiceInstance(name, "svc", endpoint="http://h", weight=weight))

            async with trio.open_nursery() as outer:
                outer.start_soon(collect, registry, seen)
                await trio.testing.wait_all_tasks_blocked()
                async with trio.open_nursery() as nursery:
                    for one in changes:
                        nursery.start_soon(change, *one)
                await trio.testing.wait_all_tasks_blocked()
                found = await registry.discover("svc")
                assert [still(one) for one in seen[-1].instances] == [still(one) for one in found]
                outer.cancel_scope.cancel()
        check_published(seen)

    trio.run(main)
