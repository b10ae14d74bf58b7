"""What faults make of the bytes of one direction, without a socket."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import switchgear as sg
from switchgear.testing import Bandwidth, BlackHole, Corrupt, Drip, HalfClose, Latency, Reset, Truncate
from switchgear.testing.course import Course
from switchgear.testing.strategies import faults

reads = st.lists(st.binary(min_size=1, max_size=200), max_size=8)


def course(*mine, seed=1):
    return Course("downstream", mine, Random(seed))


def through(one, chunks):
    """All that goes through, the pauses, and the fault that struck."""
    out, waited = [], 0.0
    for chunk in chunks:
        for piece in one.pieces(chunk):
            waited += one.pause(piece)
            passed, strike = one.admit(piece)
            out.append(passed)
            if strike is not None:
                return b"".join(out), waited, strike
    return b"".join(out), waited, None


@given(reads, st.lists(faults(max_bytes=300), max_size=5))
def test_what_goes_through_is_a_prefix_of_what_came_but_for_the_corrupted_bytes(chunks, mine) -> None:
    came = bytearray(b"".join(chunks))
    for at in [one.at for one in mine if isinstance(one, Corrupt) and one.direction == "downstream"]:
        if at < len(came):
            came[at] ^= 0xFF
    ends = [one.after or 0 for one in mine if hasattr(one, "after") and one.direction == "downstream"]
    out, _, strike = through(course(*mine), chunks)
    assert out == came[: min(ends, default=len(came))]
    assert (strike is not None) == bool(came and ends and min(ends) <= len(came))


@given(st.lists(st.integers(0, 50), max_size=20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 9))
def test_nothing_overtakes_and_nothing_is_early(steps, seconds, jitter, seed) -> None:
    one, now, last = course(Latency(seconds, jitter), seed=seed), 0, 0
    for step in steps:
        now += step
        due = one.due(now)
        assert max(last, now, now + seconds - jitter) <= due <= max(last, now + seconds + jitter)
        last = due


def test_latencies_add_up_and_jitter_is_of_the_seed() -> None:
    assert course(Latency(1.0), Latency(0.5)).due(10.0) == 11.5
    one, same, other = (course(Latency(1, 1), seed=seed).due(0.0) for seed in (1, 1, 2))
    assert one == same != other


def test_a_drip_cuts_and_waits_before_each_piece() -> None:
    assert list(course(Drip(3, 0.5)).pieces(b"abcdefgh")) == [b"abc", b"def", b"gh"]
    assert through(course(Drip(3, 0.5)), [b"abcdefgh"])[1] == 1.5


@given(reads, st.floats(1, 1e6))
def test_a_bandwidth_is_what_it_says(chunks, rate) -> None:
    assert through(course(Bandwidth(rate)), chunks)[1] == pytest.approx(sum(map(len, chunks)) / rate)


def test_the_earliest_strikes_and_of_equals_the_first() -> None:
    assert through(course(Reset(5), Truncate(3)), [b"abcdefgh"])[2] == Truncate(3)
    assert through(course(BlackHole(3), HalfClose(3)), [b"abcdefgh"])[2] == BlackHole(3)


def test_a_strike_at_the_last_byte_strikes() -> None:
    assert through(course(Reset(4)), [b"ab", b"cd"]) == (b"abcd", 0.0, Reset(4))
    assert through(course(Reset(5)), [b"ab", b"cd"]) == (b"abcd", 0.0, None)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Latency(-1), "seconds: must be 0 or more"),
        (lambda: Drip(0), "size: must be a whole number of at least 1"),
        (lambda: Bandwidth(0), "rate: must be more than 0"),
        (lambda: Reset(after=-1), "after: must be a whole number of at least 0"),
        (lambda: Reset(direction="down"), "direction: must be one of 'upstream', 'downstream'"),
        (lambda: HalfClose(after=None), "after: must be a whole number"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(make, text) -> None:
    with pytest.raises(sg.ConfigError, match=text):
        make()
