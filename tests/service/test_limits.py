"""What steers the limiter of a service, by itself: who is told of what."""

import pytest

import switchgear as sg
from switchgear.actors import events
from switchgear.actors.machines.limiter import NORMAL
from switchgear.actors.service.limits import Limits

ADAPT = sg.PushbackConfig(adapt=True)
BASE = "https://svc.test"


class Told:
    """A limiter's surroundings: the events that came, and what the gate was told."""

    def __init__(self, **fields):
        self.events, self.changes = [], []
        self.config = sg.ServiceConfig("svc", BASE, **fields)
        self.limits = Limits(self.config, "/services/svc", self.events.append)
        self.limits.changed = lambda *, worse: self.changes.append(worse)

    @property
    def rates(self):
        return [one.rate for one in self.events if isinstance(one, events.RateChanged)]

    def calls(self, per_second, since, until):
        for n in range(round((until - since) * per_second)):
            self.limits.answered((), 1.0, since + n / per_second)

    def refused(self, now, *headers, status=429, weight=1.0):
        return self.limits.refused(status, headers, sent=now, weight=weight, now=now)


async def test_a_rate_that_grows_is_told_in_steps_and_its_end() -> None:
    told = Told(pushback=ADAPT)
    told.calls(100, 0.0, 10.0)
    told.refused(10.0)
    told.calls(100, 10.0, 40.0)
    lowered, *steps, end = told.rates
    assert lowered == pytest.approx(70, rel=0.05)
    assert end is None
    assert 1 <= len(steps) <= 3
    assert all(later >= 1.5 * before for before, later in zip([lowered, *steps], steps, strict=False))


async def test_the_gate_is_told_when_calls_can_pass_earlier_and_when_only_later() -> None:
    told = Told(pushback=ADAPT)
    told.calls(100, 0.0, 10.0)
    told.limits.limiter.join(1, NORMAL, 1e9)
    told.refused(10.0)
    assert told.changes == [True]
    told.calls(100, 10.0, 10.1)
    assert told.changes[1:] == [False] * 9  # from the second on: the first came in the moment of the refusal
    told.refused(11.0, ("retry-after", "5"))
    assert True in told.changes[10:]


async def test_nobody_is_told_while_nobody_waits() -> None:
    told = Told(pushback=ADAPT)
    told.calls(100, 0.0, 10.0)
    told.refused(10.0, ("retry-after", "5"))
    told.calls(100, 15.0, 20.0)
    assert told.changes == []


async def test_a_pause_is_no_time_in_which_the_rate_proves_itself() -> None:
    told = Told(pushback=ADAPT)
    told.calls(100, 0.0, 10.0)
    told.refused(10.0, ("retry-after", "60"))
    told.calls(100, 70.0, 70.5)
    assert 65 < told.limits.status(70.5).learned_rate < 100


async def test_a_burst_wider_than_the_rate_leaves_room_to_learn() -> None:
    """A thousand an hour may come all at once: whatever pace of that the service takes is above 1,000 an hour."""
    told = Told(pushback=ADAPT, rate_limit=sg.RateLimit(1000, per=3600))
    told.calls(20, 0.0, 10.0)
    told.refused(10.0)
    assert told.limits.status(10.0).learned_rate == pytest.approx(14, rel=0.05)
    assert not all(told.limits.limiter.admits(10.0) for _ in range(20))


async def test_a_narrow_bucket_is_the_ceiling() -> None:
    told = Told(pushback=ADAPT, rate_limit=[sg.RateLimit(10, burst=5), sg.RateLimit(1000, per=3600)])
    told.calls(30, 0.0, 10.0)
    told.refused(10.0)
    assert told.rates == [pytest.approx(7)]
    told.calls(10, 10.0, 13.0)
    assert told.rates[-1] is None


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        (sg.RateLimit(10, per=60), sg.RateLimit(10, per=60), 4),
        (sg.RateLimit(10, per=60), sg.RateLimit(20, per=60), 14),  # six are out, of twenty
        (sg.RateLimit(10, per=60), sg.RateLimit(5, per=60), 0),
        (sg.RateLimit(10, per=60), sg.RateLimit(100, per=3600), 94),  # another window: still six
        (sg.RateLimit(10, per=60), [sg.RateLimit(50), sg.RateLimit(10, per=60)], 4),  # the same, in another place
        ([sg.RateLimit(10, per=60), sg.RateLimit(8, per=90)], sg.RateLimit(8, per=90), 2),
        (sg.RateLimit(10, per=60), None, 999),
        (None, sg.RateLimit(10, per=60), 10),
    ],
)
async def test_a_new_limit_goes_on_with_what_is_out_of_the_old(old, new, left) -> None:
    told = Told(rate_limit=old)
    limiter = told.limits.limiter
    assert limiter.admits(100.0, 6)
    told.limits.tune(sg.ServiceConfig("svc", BASE, rate_limit=new), told.config, 100.0)
    assert sum(limiter.admits(100.0) for _ in range(999)) == left


async def test_a_pause_ends_with_its_account_but_what_is_out_of_our_own_limit_does_not_come_back() -> None:
    limit = sg.RateLimit(1, per=100, burst=1)
    told = Told(rate_limit=limit)
    assert told.limits.limiter.admits(0.0)
    told.refused(0.0, ("retry-after", "50"))
    other = sg.ServiceConfig(
        "svc", BASE, auth=sg.BearerAuth(sg.Secret("x")), rate_limit=sg.RateLimit(1, per=100, burst=1)
    )
    told.limits.tune(other, told.config, 10.0)
    assert told.limits.status(10.0).paused_for == 0
    assert told.limits.limiter.wait_time(10.0) == pytest.approx(90)


async def test_what_can_never_hold_a_call_is_idle() -> None:
    assert Told(pushback=sg.PushbackConfig(pause=False)).limits.idle
    assert not Told().limits.idle
    assert not Told(pushback=sg.PushbackConfig(pause=False), rate_limit=sg.RateLimit(1)).limits.idle
    assert not Told(pushback=sg.PushbackConfig(pause=False, adapt=True)).limits.idle
