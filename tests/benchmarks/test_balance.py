"""The simulation of fleets, and the benchmark of picks: the figures are right, and the same each time."""

from __future__ import annotations

import math
import random

import pytest

from benchmarks.__main__ import main
from benchmarks.balance import __main__ as command
from benchmarks.balance.fleets import black_hole, poisson, steady
from benchmarks.balance.prequal import HotCold
from benchmarks.balance.simulation import Loop, Roomy, Slotted, Tally, drive
from switchgear.actors.machines.balancers import BALANCERS, PeakEwma, RoundRobin


def in_turn(rng, _):
    return RoundRobin(rng)


def default(rng, _):
    return PeakEwma(rng)


def test_events_come_in_the_order_of_their_times() -> None:
    loop, seen = Loop(), []
    for time in (3.0, 1.0, 2.0, 1.0):
        loop.at(time, seen.append)
    loop.run()
    assert seen == [1.0, 1.0, 2.0, 3.0]


def test_who_finds_no_slot_waits_in_line() -> None:
    loop, server, ends = Loop(), Slotted(2, speed=0.5), []
    for work in (1.0, 2.0, 0.5, 1.0):
        server.serve(loop, 0.0, work, lambda now, _: ends.append(now))
    assert (server.under_way, server.most) == (4, 4)
    loop.run()
    assert ends == [2.0, 3.0, 4.0, 5.0]  # 1.0 and 2.0 at once; 0.5 when the first is free, 1.0 after that
    assert server.under_way == 0
    assert server.latency() == 2.0  # with nothing in hand, as the first found it


def test_what_is_worked_out_of_the_requests() -> None:
    tally = Tally(latencies=[0.1, 0.2, 0.3, 2.0], failed=1)
    assert tally.within(1.0) == 0.6
    assert tally.quantile(0.5, deadline=5.0) == 0.3
    assert tally.quantile(0.99, deadline=5.0) == 5.0


def test_each_request_is_served_once_and_failed_at_its_deadline() -> None:
    servers = [Roomy(lambda now, work: (work, now >= 5)) for _ in range(4)]
    tally = drive(servers, in_turn, steady(10, 10, lambda: 0.5), deadline=1, seed=1)
    assert (len(tally.latencies), tally.failed) == (50, 50)
    assert set(tally.picked.values()) == {25}
    assert tally.latencies == pytest.approx([0.5] * 50)
    late = drive([Slotted(1, 1.0)], in_turn, steady(2, 4, lambda: 1.0), clients=3, deadline=2.2, seed=1)
    assert late.latencies == pytest.approx([1.0, 1.5, 2.0])
    assert late.failed == 5


def test_the_same_seed_gives_the_same() -> None:
    one, two, other = (black_hole(default, seed, rate=20) for seed in (1, 1, 2))
    assert one == two != other
    assert one.failed < 10


def test_what_is_random_has_its_rate() -> None:
    times = [time for time, _ in poisson(100, 50, random.Random(1), lambda: 0.0)]
    assert len(times) / 50 == pytest.approx(100, abs=4 * math.sqrt(100 / 50))
    assert times == sorted(times)


def test_prequal_prefers_those_who_are_cold_and_fast() -> None:
    servers = [Slotted(4, speed) for speed in (1.0, 1.0, 0.1)]
    tally = drive(
        servers,
        HotCold,
        poisson(30, 20, random.Random(1), lambda: 0.05),
        deadline=5,
        seed=1,
    )
    assert tally.failed == 0
    assert tally.picked["s2"] < tally.picked["s0"] / 2


def test_the_command_prints_its_tables_and_breaks_no_promise_quietly(monkeypatch, tmp_path, capsys) -> None:
    good = {command.SUCCEEDED: 99.95, command.FAILED: 0.05, command.P99: 100.0}
    bad = {command.SUCCEEDED: 95.5, command.FAILED: 10.0, command.P99: 300.0}

    def found(_):
        even = {"round_robin": bad, "least_outstanding": good, command.P2C: good}
        load = {command.RANDOM: bad, command.TOLD: good}
        return {"slow": even, "hole": even, "load": load, "more": load}

    monkeypatch.setattr(command, "measure", found)
    files = [f"--{kind}={tmp_path / kind}" for kind in ("json", "rst")]
    assert main(["balance", *files]) == 0
    assert "99.950" in (tmp_path / "rst").read_text()
    assert capsys.readouterr().out.count("kept: ") == 5
    good[command.FAILED] = 0.2
    assert main(["balance"]) == 1
    assert "BROKEN" in capsys.readouterr().out


def test_it_is_the_mean_of_the_seeds(monkeypatch) -> None:
    monkeypatch.setattr(command, "scenes", lambda: iter([("scene", "policy", lambda seed: {"x": 10**seed})]))
    assert command.measure(3) == {"scene": {"policy": {"x": 370.0}}}


def test_picks_are_measured_of_all_balancers(capsys) -> None:
    assert main(["picks", "--quick"]) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in BALANCERS)
