"""The harness says what was measured: turns are fair, ratios are of one round, promises are judged."""

import json
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from benchmarks import chart, report, rst
from benchmarks.__main__ import parse
from benchmarks.harness import Contender, Metric, Promise, Scenario, run


def scenario(log, promises=(), **values):
    """Contenders that read their samples off a list."""

    def contender(name, samples):
        samples = iter(samples)

        def measure():
            log.append(name)
            return {"time": next(samples)}

        return Contender(name, measure)

    contenders = [contender(name, samples) for name, samples in values.items()]
    reference = contenders[0].name
    return Scenario("a & b", [Metric("time", "us"), Metric("memory", "kB")], contenders, reference, promises)


def test_all_contenders_take_part_in_each_round_in_changing_order():
    log = []
    run(scenario(log, a=[1] * 20, b=[1] * 20, c=[1] * 20), rounds=20, seed=1)
    rounds = [tuple(log[start : start + 3]) for start in range(0, 60, 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len(Counter(rounds)) > 1


def test_the_same_seed_gives_the_same_order():
    first, second = [], []
    for log in (first, second):
        run(scenario(log, a=[1] * 9, b=[1] * 9, c=[1] * 9), rounds=9, seed=5)
    assert first == second


def test_a_ratio_is_taken_within_each_round_so_that_drift_falls_out():
    result = run(scenario([], base=[1, 10, 100], double=[2, 20, 200]), rounds=3, seed=1)
    assert result.series["double"].ratio("time", result.series["base"]) == 2
    assert result.series["double"].median("time") == 20
    assert result.series["double"].quartiles("time") == (11, 110)


def test_a_missing_package_is_reported_with_the_extra_that_brings_it():
    missing = Contender("missing", lambda: {"time": 1}, needs="no-such-distribution")
    here = Contender("here", lambda: {"time": 1})
    result = run(Scenario("s", [Metric("time", "us")], [here, missing], "here"), rounds=2, seed=1)
    assert result.series["missing"].samples == []
    assert "absent, needs no-such-distribution: pip install '.[bench]'" in report.table(result)


@pytest.mark.parametrize(
    ("promise", "kept"),
    [
        (Promise("b", "time", most=1.5, to="a"), True),
        (Promise("b", "time", most=1.4, to="a"), False),
        (Promise("b", "time", most=3), True),
        (Promise("b", "time", most=3, worst=True), False),
        (Promise("b", "time", least=1.5, to="a"), True),
        (Promise("b", "time", least=1.6, to="a"), False),
        (Promise("b", "nothing of the kind", most=3), False),
        (Promise("b", "nothing of the kind", least=3), False),
    ],
)
def test_promises(promise, kept):
    result = run(scenario([], promises=[promise], a=[1, 2, 4], b=[1, 3, 6]), rounds=3, seed=1)
    (verdict,) = result.verdicts(quick=False)
    assert verdict.kept is kept
    assert report.sentence(verdict).startswith("kept" if kept else ("BROKEN", "NOT JUDGED"))


@pytest.mark.parametrize(("least", "words"), [(1.5, "reached: "), (1.6, "not reached: ")])
def test_what_is_only_hoped_for_is_no_failure(least, words):
    promise = Promise("b", "time", least=least, to="a", stretch=True)
    result = run(scenario([], promises=[promise], a=[1, 2, 4], b=[1, 3, 6]), rounds=3, seed=1)
    (verdict,) = result.verdicts(quick=False)
    assert verdict.passed
    assert report.sentence(verdict).startswith(words)
    assert "hoped for at least" in report.sentence(verdict)


def test_a_quick_run_judges_no_timing():
    promises = [Promise("a", "time", most=0), Promise("a", "time", most=1, timing=False)]
    result = run(scenario([], promises=promises, a=[1, 1]), rounds=2, seed=1)
    assert [verdict.promise for verdict in result.verdicts(quick=True)] == promises[1:]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (0.01234, "0.0123"), (1.234, "1.23"), (99.99, "100.0"), (12345, "12300"), (1e6, "1000000")],
)
def test_figures_have_three_digits(value, text):
    assert report.figure(value) == text


def test_the_table_shows_median_quartiles_and_ratio():
    lines = report.table(run(scenario([], a=[1, 2, 3], b=[2, 4, 6]), rounds=3, seed=1)).splitlines()
    assert lines[2].split() == ["time", "[us]", "memory", "[kB]", "x", "a"]
    assert lines[4].split() == ["b", "4.00", "(3.00..5.00)", "-", "2.00"]


def test_json_holds_every_sample_and_the_machine():
    result = run(scenario([], promises=[Promise("a", "time", most=9)], a=[1, 2], b=[2, 4]), rounds=2, seed=1)
    document = json.loads(json.dumps(report.document([result], rounds=2, seed=1, quick=False)))
    assert document["machine"]["versions"]["switchgear"]
    (table,) = document["scenarios"]
    assert table["contenders"]["b"]["samples"] == [{"time": 2}, {"time": 4}]
    assert table["contenders"]["b"]["ratio"] == 2
    assert table["promises"][0]["kept"]


def test_the_picture_is_well_formed_and_has_a_bar_for_each_contender_that_ran():
    missing = Contender("gone <away>", lambda: {"time": 1}, needs="no-such-distribution")
    one = scenario([], a=[1, 2], b=[2, 4])
    result = run(Scenario("a & b", one.metrics, [*one.contenders, missing], "a"), rounds=2, seed=1)
    picture = ET.fromstring(chart.svg([result], "made <here>"))
    bars = picture.findall("{http://www.w3.org/2000/svg}rect")
    widths = [float(bar.get("width")) for bar in bars]
    assert widths == [pytest.approx(widths[0]), pytest.approx(2 * widths[0])]


def by_callers():
    """Three tables that are points of a curve, and one that is not."""
    gone = Contender("gone", lambda: {"time": 1}, needs="no-such-distribution")
    tables = []
    for callers in (1, 10, 1000):
        one = scenario([], a=[1, 2, 3], b=[10 * callers, 20 * callers, 30 * callers])
        table = replace(one, name=f"{callers}", contenders=[*one.contenders, gone], curve="by callers", at=callers)
        tables.append(run(table, rounds=3, seed=1))
    return [*tables, run(scenario([], a=[1], b=[2]), rounds=1, seed=1)]


def test_tables_of_one_curve_are_drawn_as_lines():
    picture = ET.fromstring(chart.svg(by_callers(), "caption"))
    lines = [line.get("points").split() for line in picture.iter("{http://www.w3.org/2000/svg}polyline")]
    assert [len(line) for line in lines] == [3, 3, 0]  # who was not there has a line without a point
    (a, b, _) = [[tuple(map(float, point.split(","))) for point in line] for line in lines]
    assert [x for x, _ in a] == [x for x, _ in b] == sorted(x for x, _ in a)
    assert len({y for _, y in a}) == 1
    assert b[0][1] - b[1][1] == pytest.approx((b[1][1] - b[2][1]) / 2, abs=0.2)  # 10 times, 100 times
    assert len(list(picture.iter("{http://www.w3.org/2000/svg}rect"))) == 2  # the other table has bars


def test_names_at_the_ends_of_lines_do_not_stand_on_each_other():
    picture = ET.fromstring(chart.svg(by_callers()[:3], "caption"))
    names = [text for text in picture.iter("{http://www.w3.org/2000/svg}text") if (text.text or "")[:2] in ("a ", "b ")]
    heights = sorted(float(name.get("y")) for name in names)
    assert len(heights) == 2
    assert heights[1] - heights[0] >= 15


def test_a_document_gets_one_table_a_curve_and_metric():
    text = rst.document(by_callers(), "a machine", rounds=3, quick=False)
    assert "on a machine." in text
    assert text.count(".. list-table::") == 2
    rows = text.split("   * -")[1:]
    cells = [[cell.strip() for cell in row.split("\n\n")[0].split("\n     -")] for row in rows]
    assert cells[:4] == [
        ["", "1", "10", "1,000"],
        ["a", "2.00 (x 1.00)", "2.00 (x 1.00)", "2.00 (x 1.00)"],
        ["b", "20.0 (x 10.0)", "200 (x 100)", "20000 (x 10000)"],
        ["gone", "not installed", "not installed", "not installed"],
    ]
    assert cells[4][1:] == ["time, us", "memory, kB"]


def test_a_document_says_what_became_of_promises():
    result = run(scenario([], promises=[Promise("a", "time", most=1)], a=[1, 2], b=[2, 4]), rounds=2, seed=1)
    text = rst.document([result], "a machine", rounds=2, quick=False)
    assert "* a & b: BROKEN: a: time is 1.50, promised at most 1.00" in text


def test_an_unknown_benchmark_is_refused_by_name(capsys):
    with pytest.raises(SystemExit):
        parse(["ask", "aks"])
    assert "no benchmark is called aks" in capsys.readouterr().err
