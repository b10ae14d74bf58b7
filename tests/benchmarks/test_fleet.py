"""The fleets: the harness calls as it says, with the same figures each time; short scenes show what long ones do."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from benchmarks.fleet import scenes
from benchmarks.fleet.__main__ import main, rows
from benchmarks.fleet.picture import panel
from benchmarks.fleet.run import Course, by_chance, run, steady
from benchmarks.fleet.scenes import BALANCER_ALONE, DEFAULT, ROUND, SCENES, Scene
from benchmarks.fleet.servers import Roomy, Slotted
from benchmarks.lines import svg


def scene(name, **changes):
    return replace(next(one for one in SCENES if one.name == name), **changes)


def test_what_is_worked_out_of_the_calls() -> None:
    course = Course([0.1] * 98 + [3.0], ["TIMEOUT"], 120)
    assert course.calls == 100
    assert course.answered() == 0.99
    assert course.answered(within=1.0) == 0.98
    assert (course.quantile(0.5), course.quantile(0.98), course.quantile(0.999)) == (0.1, 3.0, float("inf"))
    assert rows(SCENES[0], {"a": course})[0] == ("a", "100", "98.000", "100", "inf", "inf", "1.200")


def test_servers_and_arrivals() -> None:
    assert list(steady(2, 2)(random.Random(1))) == [0, 0.5, 1, 1.5]
    times = list(by_chance(50, 20)(random.Random(1)))
    assert times == sorted(times)
    assert 800 < len(times) < 1200
    one = run(lambda _: {"a.test": Slotted(1, lambda: 1.0)}, steady(10, 0.3), {}, 1)  # three at once, one after another
    assert [round(latency, 6) for latency in one.latencies] == [1.0, 1.9, 2.8]
    failing = run(lambda _: {"a.test": Roomy(lambda _: (0.5, 404))}, steady(10, 0.2), {}, 1)
    assert failing.failures == ["HTTP_STATUS"] * 2


def test_the_black_hole_gets_hardly_a_call() -> None:
    short = scene("hole", arrivals=by_chance(500, 6))
    courses = short.play(3, lambda _: None)
    assert courses[ROUND].answered() < 0.92
    assert courses[BALANCER_ALONE].answered() >= 0.998
    assert courses[DEFAULT].answered() == 1
    again = run(short.servers, short.arrivals, short.variants[BALANCER_ALONE], 3)
    assert again.latencies == courses[BALANCER_ALONE].latencies
    picture = panel(short, courses)
    assert picture is not None
    assert svg([picture]).count("<polyline") == len(courses)


def test_a_slow_server_is_found_out_and_hedging_saves_the_rest(monkeypatch) -> None:
    monkeypatch.setattr(scenes, "SLOW_FROM", 2.0)
    monkeypatch.setattr(scenes, "SLOW_TO", 6.0)
    courses = scene("slow", arrivals=steady(300, 8)).play(1, lambda _: None)
    share = {name: course.answered(within=1.0) for name, course in courses.items()}
    assert share[ROUND] < 0.96
    assert 0.99 < share[DEFAULT] <= share[scenes.HEDGED]


def test_one_that_flaps_is_not_called_while_it_is_down() -> None:
    short = scene("flapping", arrivals=by_chance(200, 15))
    courses = short.play(2, lambda _: None)
    assert all(kept for _, kept in short.promises(courses)), list(short.promises(courses))
    assert panel(short, courses) is None


def test_half_of_a_fleet_that_is_down_does_not_take_the_rest_along() -> None:
    courses = scene("half", arrivals=by_chance(200, 15)).play(2, lambda _: None)
    assert courses[scenes.NO_RETRIES].answered() > 0.99
    assert courses[DEFAULT].answered() == 1


def test_the_command_writes_what_it_says(tmp_path, monkeypatch, capsys) -> None:
    small = Scene(
        "hole",
        "a small one",
        lambda _: {"a.test": Roomy(lambda _: (0.1, 200))},
        steady(10, 2),
        {"one": {}, "two": {"balancer": "round_robin"}},
        lambda courses: iter([("all succeed", courses["one"].answered() == 1), ("never kept", False)]),
    )
    monkeypatch.setattr("benchmarks.fleet.__main__.SCENES", [small])
    files = {kind: tmp_path / f"it.{kind}" for kind in ("json", "svg", "rst")}
    assert main([f"--{kind}={path}" for kind, path in files.items()]) == 1
    assert "BROKEN: never kept" in capsys.readouterr().out
    assert "a small one; seed 1" in files["rst"].read_text()
    assert '"hole"' in files["json"].read_text()
    assert files["svg"].read_text().startswith("<svg")
    with pytest.raises(SystemExit):
        main(["nowhere"])
