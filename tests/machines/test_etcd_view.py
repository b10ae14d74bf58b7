"""The view of a prefix: against a store that is written independently, whose log the watch replays."""

from __future__ import annotations

import base64

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from switchgear.actors.machines.etcd_view import (
    After,
    EtcdView,
    Header,
    KeyValue,
    Listed,
    Watched,
    WatchEvent,
    encoded,
    range_end,
)

KEYS = st.sampled_from(["a", "b", "c/d", "\u00fc"])


def pair(key, value=b""):
    return KeyValue(encoded(f"/svc/{key}"), base64.b64encode(value).decode())


class Store(RuleBasedStateMachine):
    """A store with a log; the view lists it, is told pieces of the log, or is told that they are gone."""

    def __init__(self):
        super().__init__()
        self.view = EtcdView("/svc/")
        self.states = [{}]  # by revision
        self.log = [None]  # what made it of the one before
        self.seen = None  # the revision that the view is at

    @rule(key=KEYS, value=st.binary(max_size=4))
    def put(self, key, value):
        self.states.append(self.states[-1] | {key: value})
        self.log.append(WatchEvent(pair(key, value)))

    @rule(key=KEYS)
    def delete(self, key):
        self.states.append({known: value for known, value in self.states[-1].items() if known != key})
        self.log.append(WatchEvent(pair(key), "DELETE"))

    @rule()
    def list_all(self):
        self.seen = len(self.states) - 1
        self.view.listed(Listed(Header(str(self.seen)), tuple(pair(*item) for item in self.states[-1].items())))

    @precondition(lambda self: self.seen is not None)
    @rule(most=st.integers(1, 3))
    def watch(self, most):
        events = tuple(self.log[self.seen + 1 : self.seen + 1 + most])
        after = self.view.watched(Watched(Header(str(self.seen + len(events))), events=events))
        assert after is (After.CHANGED if events else After.SAME)
        self.seen += len(events)

    @precondition(lambda self: self.seen is not None)
    @rule(compacted=st.booleans())
    def end(self, compacted):
        said = Watched(compact_revision=str(self.seen + 1)) if compacted else Watched(canceled=True)
        assert self.view.watched(said) is (After.COMPACTED if compacted else After.OVER)

    @invariant()
    def is_as_it_was_then(self):
        if self.seen is not None:
            assert self.view.values == self.states[self.seen]
            assert self.view.revision == self.seen


TestStore = Store.TestCase


@pytest.mark.parametrize(
    "wrong",
    [
        Listed(Header("x")),
        Listed(kvs=(KeyValue("!"),)),
        Listed(kvs=(KeyValue("YQ==", "\u00fc"),)),
        Listed(kvs=(KeyValue("/w=="),)),
    ],
)
def test_what_is_no_answer_changes_nothing(wrong):
    view = EtcdView("/svc/")
    view.listed(Listed(Header("3"), (pair("a", b"1"),)))
    with pytest.raises(ValueError):
        view.listed(wrong)
    with pytest.raises(ValueError):
        view.watched(Watched(wrong.header, events=tuple(WatchEvent(one) for one in wrong.kvs)))
    assert (view.values, view.revision) == ({"a": b"1"}, 3)


@pytest.mark.parametrize("prefix", ["/svc/", "a", "\u00fc", "z\U0010ffff"])
def test_the_range_is_all_that_begins_with_the_prefix(prefix):
    end = base64.b64decode(range_end(prefix))
    for below in (prefix, f"{prefix}a", f"{prefix}\U0010ffff"):
        assert prefix.encode() <= below.encode() < end
    assert not f"{prefix[:-1]}{chr(ord(prefix[-1]) - 1)}x".encode() >= prefix.encode()
