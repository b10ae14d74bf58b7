"""Errors without the frames they came through, and exceptions of others that are told as texts."""

from __future__ import annotations

import pickle
import traceback

import httpx
import pytest
from support.leaks import leaks, told
from support.service import outcome_of, running

import switchgear as sg
from switchgear.actors.secrecy import sealed
from switchgear.actors.secrecy.retold import Retold, cause_of

CANARY = "sk-Canary-4711"


def raised(error, held=CANARY):
    """The error, with a frame of a library's that holds a secret."""
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001 - whatever it is
        return caught


def test_an_error_of_ours_loses_its_frames():
    error = sealed(raised(sg.TransportError("cut")))
    assert (error.__traceback__, getattr(error, "__notes__", [])) == (None, [])


def test_what_it_says_is_not_to_be_shown_is_not_there():
    try:
        try:
            raise KeyError(CANARY)
        except KeyError:
            raise sg.TransportError("cut") from None
    except sg.TransportError as caught:
        error = sealed(caught)
    assert error.__context__ is None


def test_of_any_other_the_lines_are_kept_as_a_note():
    error = sealed(raised(KeyError("x")))
    assert error.__traceback__ is None
    (note,) = error.__notes__
    assert note.startswith("It came through\n")
    assert "in raised\n    raise error" in note
    assert sealed(error).__notes__ == [note]


def test_what_a_library_raised_is_told_with_its_lines_and_causes():
    try:
        try:
            raise OSError("the cable")
        except OSError as error:
            raise httpx.ConnectError("no way") from error
    except httpx.ConnectError as caught:
        one = Retold(caught, str)
    text = str(one)
    assert "OSError: the cable" in text
    assert "httpx.ConnectError: no way" in text
    assert 'raise httpx.ConnectError("no way") from error' in text
    assert isinstance(one.error, httpx.ConnectError)
    assert repr(one) == "<Retold httpx.ConnectError>"


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("GET https://u:pw@svc.test/x?k=v&w failed", "GET https://***@svc.test/x?*** failed"),
        ("b'/x?k=v' and why? nobody knows", "b'/x?***' and why? nobody knows"),
        ("[(b'Cookie', b'a=b')]", "[('Cookie', '***')]"),
    ],
)
def test_queries_and_users_are_left_out_of_it_however_short(said, left):
    assert str(Retold(raised(ValueError(said)), str)).endswith(f"ValueError: {left}\n")


def test_it_is_written_when_somebody_reads_it():
    asked = []
    one = Retold(raised(ValueError("x")), lambda text: asked.append(text) or text)
    assert not asked
    assert "".join(traceback.format_exception(one)).count("ValueError: x") == 1
    assert asked


def test_it_can_be_pickled_as_a_text():
    one = pickle.loads(
        pickle.dumps(Retold(raised(ValueError(f"{CANARY} x")), lambda text: text.replace(CANARY, "***")))
    )
    assert "ValueError: *** x" in str(one)


def test_an_error_of_ours_is_a_cause_as_it_is():
    error = raised(sg.TransportError("cut"))
    assert cause_of(error, str) is error
    assert error.__traceback__ is None


async def test_the_cause_of_a_transport_error_says_what_happened_and_where(autojump_clock):
    def step(request):
        local = request.headers["authorization"]
        raise KeyError(f"{len(local)} characters")

    async with running(step, auth=sg.BearerAuth(sg.Secret(CANARY))) as (service, _):
        error = await outcome_of(service.get("/x"))
    assert isinstance(error.__cause__.error, KeyError)
    assert 'raise KeyError(f"{len(local)} characters")' in "".join(traceback.format_exception(error))
    assert not leaks(told(error), CANARY)
