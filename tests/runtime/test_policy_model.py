"""The supervision policy against a model that recomputes everything from plain lists."""

from __future__ import annotations

import math
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from switchgear.runtime.backoff import Backoff
from switchgear.runtime.policy import Policy
from switchgear.runtime.words import (
    Add,
    Begin,
    Booted,
    Delayed,
    Ended,
    Exited,
    Forgotten,
    Intensity,
    Ready,
    Remove,
    Restart,
    Shutdown,
    Start,
    Stop,
    Strategy,
    Tick,
)

# Quarters of seconds and powers of two: floats are exact, so the model may compare them.
BACKOFF = Backoff(initial=0.5, factor=2.0, maximum=4.0, jitter=0.0, reset_after=8.0)
WITHIN = 10.0
ALIVE = ("starting", "up")


class Kid:
    def __init__(self, name, restart, fresh):
        self.name, self.restart, self.fresh = name, restart, fresh
        self.state = "waiting"
        self.due = -math.inf
        self.crashes = 0
        self.ready_at = None
        self.condemned = self.removed = self.in_turn = False


class Model:
    """One list of children in order, one list of all crashes; nothing is cached."""

    def __init__(self, children, strategy, max_restarts):
        self.kids = [Kid(name, restart, fresh=False) for name, restart in children]
        self.strategy, self.max_restarts = strategy, max_restarts
        self.crashes = []  # (time, name), all of them
        self.phase = "booting"
        self.final = False
        self.why = ("asked",)
        self.out = []

    def step(self, event, now):
        self.out = []
        if self.phase != "ended":
            self.take(event, now)
            self.go_on(now)
        return self.out

    def kid(self, name):
        return next((kid for kid in self.kids if kid.name == name), None)

    def take(self, event, now):
        match event:
            case Ready(name):
                kid = self.kid(name)
                if kid is not None and kid.state == "starting":
                    kid.state, kid.ready_at, kid.fresh = "up", now, False
            case Exited(name, error):
                self.exited(self.kid(name), error is not None, now)
            case Add(name, restart):
                if self.phase != "ending":
                    self.kids.append(Kid(name, restart, fresh=True))
            case Remove(name):
                self.remove(self.kid(name))
            case Shutdown(final):
                self.end(("asked",), final)

    def exited(self, kid, crashed, now):
        was, kid.in_turn = kid.state, False
        if kid.ready_at is not None and now - kid.ready_at >= BACKOFF.reset_after:
            kid.crashes = 0
        kid.ready_at = None
        over = kid.restart is Restart.TEMPORARY or (kid.restart is Restart.TRANSIENT and not crashed)
        if was == "stopping":
            self.rest(kid)
        elif was == "starting" and kid.fresh:
            self.forget(kid, failed=crashed)
        elif was == "starting" and self.phase == "booting":
            kid.state = "down"
            self.end(("failed", kid.name), final=False)
        elif over:
            self.forget(kid)
        elif kid.condemned:
            self.rest(kid)
        else:
            self.crash(kid, now)

    def rest(self, kid):
        if kid.removed or kid.restart is Restart.TEMPORARY:
            self.forget(kid)
        else:
            kid.state = "down" if self.phase == "ending" else "waiting"
            kid.condemned = False

    def crash(self, kid, now):
        kid.crashes += 1
        kid.state, kid.due = "waiting", now + min(4.0, 0.5 * 2.0 ** (kid.crashes - 1))
        self.crashes.append((now, kid.name))
        recent = [crash for crash in self.crashes if crash[0] > now - WITHIN]
        if self.max_restarts is not None and len(recent) > self.max_restarts:
            self.end(("gave up", tuple(name for _, name in recent)), final=False)
            return
        self.out.append(("delayed", kid.name, kid.due, kid.crashes))
        place = self.kids.index(kid)
        others = {
            Strategy.ONE_FOR_ONE: [],
            Strategy.ONE_FOR_ALL: [other for other in self.kids if other is not kid],
            Strategy.REST_FOR_ONE: self.kids[place + 1 :],
        }[self.strategy]
        for other in others:
            other.due = max(other.due, kid.due)
            other.condemned = other.condemned or other.state in ALIVE

    def remove(self, kid):
        if kid is None:
            return
        if kid.state in ("waiting", "down"):
            self.forget(kid)
            return
        kid.state, kid.removed = "stopping", True
        self.out.append(("stop", kid.name, True))

    def end(self, why, final):
        if self.phase == "ending":
            self.final = self.final or final
            return
        self.phase, self.why, self.final = "ending", why, final
        for kid in self.kids:
            if kid.state == "waiting":
                kid.state = "down"
            kid.condemned = kid.state in ALIVE

    def forget(self, kid, *, failed=False):
        self.kids.remove(kid)
        self.out.append(("forgotten", kid.name, failed))

    def go_on(self, now):
        if any(kid.in_turn for kid in self.kids):
            return
        condemned = [kid for kid in self.kids if kid.condemned and kid.state in ALIVE]
        if condemned:
            kid = condemned[-1]
            kid.state, kid.in_turn = "stopping", True
            last = kid.restart is Restart.TEMPORARY or (self.phase == "ending" and self.final)
            self.out.append(("stop", kid.name, last))
            return
        if self.phase == "ending":
            if not any(kid.state in (*ALIVE, "stopping") for kid in self.kids):
                self.phase = "ended"
                self.out.append(("ended", self.why))
            return
        self.start(now)
        if self.phase == "booting" and not any(kid.state in ("waiting", "starting") for kid in self.kids):
            self.phase = "running"
            self.out.append(("booted",))

    @property
    def serial(self):
        return self.phase == "booting" or self.strategy is not Strategy.ONE_FOR_ONE

    def candidates(self):
        waiting = [kid for kid in self.kids if kid.state == "waiting"]
        if self.strategy is Strategy.ONE_FOR_ONE:
            waiting.sort(key=lambda kid: kid.due)  # stable: ties by place
        if self.serial:
            return [] if any(kid.state == "starting" for kid in self.kids) else waiting[:1]
        return waiting

    def start(self, now):
        for kid in self.candidates():
            if kid.due <= now:
                kid.state = "starting"
                self.out.append(("start", kid.name))

    @property
    def due(self):
        if self.phase in ("ending", "ended") or any(kid.in_turn for kid in self.kids):
            return math.inf
        return min((kid.due for kid in self.candidates()), default=math.inf)


def plain(action):
    """An action as the model says it."""
    match action:
        case Start(name):
            return ("start", name)
        case Stop(name, final):
            return ("stop", name, final)
        case Delayed(name, due, crashes):
            return ("delayed", name, due, crashes)
        case Forgotten(name, error):
            return ("forgotten", name, error is not None)
        case Booted():
            return ("booted",)
        case Ended(history, failed):
            if failed is not None:
                return ("ended", ("failed", failed))
            if history:
                return ("ended", ("gave up", tuple(crash.name for crash in history)))
            return ("ended", ("asked",))


class PolicyMachine(RuleBasedStateMachine):
    @initialize(
        strategy=st.sampled_from(Strategy),
        restarts=st.lists(st.sampled_from([Restart.PERMANENT, *Restart]), max_size=6),
        max_restarts=st.sampled_from([0, 1, 3, 10, None]),
        boot=st.sampled_from([True, True, False]),
    )
    def begin(self, strategy, restarts, max_restarts, boot):
        self.children = [(f"c{number}", restart) for number, restart in enumerate(restarts)]
        self.restart = dict(self.children)
        self.order = [name for name, _ in self.children]
        self.strategy = strategy
        self.policy = Policy(
            self.children,
            strategy=strategy,
            intensity=Intensity(max_restarts=max_restarts, within=WITHIN),
            backoff=BACKOFF,
            rng=random.Random(1),
        )
        self.model = Model(self.children, strategy, max_restarts)
        self.now = 0.0
        self.living = {}  # name -> "starting" | "up": between a Start and its Exited
        self.told = set()  # of those, which have been told to stop
        self.due = {}  # when a Delayed said that they start again
        self.started = {}  # name -> how often
        self.cause = {}  # name -> how its last life ended
        self.over = False
        self.booting = True
        self.forgotten = set()
        self.feed(Begin())
        if boot:
            self.all_ready()

    # ---- what the shell would do, and what no policy may ask of it

    def feed(self, event):
        actions = self.policy.step(event, self.now)
        assert [plain(action) for action in actions] == self.model.step(event, self.now)
        assert not (self.over and actions)
        for action in actions:
            self.check(action)

    def check(self, action):
        match action:
            case Start(name):
                self.check_start(name)
            case Stop(name, final):
                assert name in self.living
                assert final or name not in self.told  # told twice only when the second is the last word
                self.told.add(name)
            case Delayed(name, due, _):
                assert name not in self.living
                assert due > self.now
                self.due[name] = due
            case Forgotten(name):
                assert name not in self.living
                self.forgotten.add(name)
            case Booted():
                assert self.booting
                self.booting = False
            case Ended():
                assert not self.living
                self.over = True

    def check_start(self, name):
        assert name not in self.living
        assert name not in self.forgotten
        assert self.now >= self.due.get(name, -math.inf)
        if self.started.get(name, 0):
            assert self.restart[name] is not Restart.TEMPORARY
            assert self.restart[name] is Restart.PERMANENT or self.cause[name] != "normal"
        if self.booting or self.strategy is not Strategy.ONE_FOR_ONE:
            others = [other for other in self.living if other not in self.told]
            assert "starting" not in [self.living[other] for other in others]
        if self.strategy is not Strategy.ONE_FOR_ONE:
            # left to right: nobody to its left is down while it starts
            left = self.order[: self.order.index(name)]
            assert all(other in self.living or other in self.forgotten for other in left)
        self.started[name] = self.started.get(name, 0) + 1
        self.living[name] = "starting"

    def exit(self, name, error):
        told = name in self.told
        self.cause[name] = "stopped" if told else ("crash" if error else "normal")
        del self.living[name]
        self.told.discard(name)
        self.feed(Exited(name, error))

    # ---- what can happen

    @precondition(lambda self: "starting" in self.living.values())
    @rule(data=st.data())
    def ready(self, data):
        name = data.draw(st.sampled_from([name for name, state in self.living.items() if state == "starting"]))
        self.living[name] = "up"
        self.feed(Ready(name))

    @rule()
    def all_ready(self):
        while starting := [name for name, state in self.living.items() if state == "starting"]:
            self.living[starting[0]] = "up"
            self.feed(Ready(starting[0]))

    @precondition(lambda self: self.living and not self.booting)
    @rule(data=st.data(), error=st.sampled_from([None, ValueError("x")]))
    def ends(self, data, error):
        self.exit(data.draw(st.sampled_from(list(self.living))), error)

    @precondition(lambda self: any(state == "up" for state in self.living.values()))
    @rule(data=st.data())
    def crashes(self, data):
        up = [name for name, state in self.living.items() if state == "up"]
        self.exit(data.draw(st.sampled_from(up)), ValueError("x"))

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def stops(self, data):
        self.exit(data.draw(st.sampled_from(sorted(self.told))), None)

    @rule(quarters=st.integers(0, 60))
    def time_passes(self, quarters):
        self.now += quarters / 4
        self.feed(Tick())

    @precondition(lambda self: self.now < self.policy.due < math.inf)
    @rule()
    def next_is_due(self):
        self.now = self.policy.due
        self.feed(Tick())

    @precondition(lambda self: self.model.crashes)
    @rule()
    def a_crash_is_about_to_be_forgotten(self):
        for at, _ in self.model.crashes:
            if at + WITHIN > self.now:
                self.now = at + WITHIN
                self.feed(Tick())
                return

    @precondition(lambda self: self.booting and self.living)
    @rule(data=st.data(), error=st.sampled_from([None, ValueError("x")]))
    def ends_in_boot(self, data, error):
        self.exit(data.draw(st.sampled_from(list(self.living))), error)

    @rule()
    def the_healthy_are_just_so(self):
        """To the very moment at which one that came up counts as healthy."""
        times = [kid.ready_at + BACKOFF.reset_after for kid in self.model.kids if kid.ready_at is not None]
        if later := [time for time in times if time > self.now]:
            self.now = min(later)
            self.feed(Tick())

    @rule(restart=st.sampled_from(Restart))
    def add(self, restart):
        name = f"c{len(self.order)}"
        self.order.append(name)
        self.restart[name] = restart
        self.feed(Add(name, restart))
        if self.model.kid(name) is None:
            self.forgotten.add(name)  # it was too late for it

    @precondition(lambda self: self.order)
    @rule(data=st.data())
    def remove(self, data):
        self.feed(Remove(data.draw(st.sampled_from(self.order))))

    @precondition(lambda self: len(self.model.crashes) > 2)
    @rule(final=st.booleans())
    def shutdown(self, final):
        self.feed(Shutdown(final))

    # ---- what is always so

    @invariant()
    def the_next_tick_is_known(self):
        if hasattr(self, "policy"):
            assert self.policy.due == self.model.due

    @invariant()
    def it_is_never_idle_with_work_to_do(self):
        """Without a living child it has ended, or waits for nothing, or for a time to come: it cannot be stuck."""
        if hasattr(self, "policy") and not self.living and not self.over:
            waiting = list(self.policy.children)
            assert not waiting or self.now < self.policy.due < math.inf

    def teardown(self):
        """Whatever has happened: told to stop, it ends once everybody has gone, from right to left."""
        if not hasattr(self, "policy"):
            return
        self.feed(Shutdown())
        last = math.inf
        while not self.over:
            in_turn = [kid.name for kid in self.model.kids if kid.in_turn]
            if in_turn:
                place = self.order.index(in_turn[0])
                assert place < last
                last = place
            self.exit(max(self.told) if not in_turn else in_turn[0], None)


PolicyMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=60)
TestPolicy = PolicyMachine.TestCase
