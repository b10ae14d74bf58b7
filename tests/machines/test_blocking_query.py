"""The index of a blocking query: the rules by example, and that no server makes it ask faster than it may."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switchgear.actors.machines.blocking_query import BURST, EVERY, BlockingQuery


@pytest.mark.parametrize(
    ("answers", "index"),
    [
        (["7"], 7),
        (["7", "9"], 9),
        (["7", "7"], 7),
        (["9", "7"], 0),  # backwards: begin anew
        (["9", "7", "7"], 7),
        (["0"], 1),
        (["-4"], 1),
        ([None], 1),
        (["abc"], 1),
        (["9", "0"], 1),
    ],
)
def test_the_index_to_ask_with(answers, index):
    query = BlockingQuery()
    assert query.index == 0
    for answer in answers:
        query.answered(answer)
    assert query.index == index


def test_only_another_index_can_be_a_change():
    query = BlockingQuery()
    assert query.answered("7")
    assert not query.answered("7")
    assert query.answered("8")
    assert query.answered(None)  # a fault: it may be anything
    query.answered("8")
    query.forget()
    assert query.index == 0
    assert query.answered("8")


@given(
    st.lists(st.tuples(st.none() | st.integers(-5, 20).map(str) | st.text(max_size=3), st.floats(0, 40)), max_size=60)
)
def test_it_is_held_back_whatever_is_answered(answers):
    query, now, sent = BlockingQuery(), 0.0, []
    for index, took in answers:
        now += query.next(now)
        sent.append(now)
        query.answered(index)
        assert query.index >= 0
        now += took
    for first, at in enumerate(sent):
        for count, later in enumerate(sent[first:], start=1):
            assert count <= BURST + (later - at) / EVERY + 1e-6
