"""All that a program, a log, a debugger or an error tracker would show of something: to look for secrets in it."""

from __future__ import annotations

import copy
import json
import pickle
import pprint
import traceback
from collections.abc import Mapping
from pathlib import Path

import msgspec
from rich.pretty import pretty_repr

TESTS = str(Path(__file__).parent.parent)


def shown(value):
    """All the ways in which a value is made text, by us and by those who look at it."""
    yield from (repr(value), str(value), f"{value}", pprint.pformat(value), pretty_repr(value))
    yield from walked(value)
    for dump in (pickle.dumps, msgspec.json.encode, msgspec.msgpack.encode, json.dumps):
        try:
            yield repr(dump(value))
        except Exception as error:  # noqa: BLE001 - its text is another way to be shown
            yield "".join(traceback.format_exception_only(error))


def walked(value, depth=4):
    """As Sentry does it: containers are gone through, and of everything else the repr is taken."""
    if depth and isinstance(value, Mapping):
        for key, one in value.items():
            yield from (*walked(key, depth - 1), *walked(one, depth - 1))
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from walked(one, depth - 1)
    else:
        yield value.decode("latin-1") if isinstance(value, bytes) else repr(value)


def chain(error):
    """An error and all that it has come of, also where it says that this is not to be shown: not everybody asks."""
    seen, todo = [], [error]
    while todo:
        one = todo.pop()
        if one is not None and not any(one is other for other in seen):
            seen.append(one)
            todo += (one.__cause__, one.__context__)
            todo += getattr(one, "exceptions", ())
            todo += getattr(one, "fallback_errors", ())
    return seen


def told(error):
    """All that is shown of an error: its texts, and its tracebacks with the locals of all frames but the tests' own."""
    yield "".join(traceback.format_exception(error))
    for one in chain(error):
        yield from (repr(one), str(one), repr(one.args), *getattr(one, "__notes__", ()))
        ours = [step for step in traceback.walk_tb(one.__traceback__) if not is_a_tests(step[0])]
        yield from traceback.StackSummary.extract(iter(ours), capture_locals=True).format()
        for frame, _ in ours:
            for name, value in frame.f_locals.items():
                where = f"{frame.f_code.co_qualname} in {frame.f_code.co_filename}: {name} = "
                yield from (where + text for text in (safe_repr(value), *walked(value), pretty_repr(value)))


def is_a_tests(frame):
    """Tests know what they look for."""
    return frame.f_code.co_filename.startswith(TESTS)


def safe_repr(value):
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - of half an object, say
        return f"<{type(error).__name__}>"


def leaks(texts, *canaries):
    """Those of the texts that have a canary in them, with what is around it."""
    found = []
    for text in texts:
        for canary in canaries:
            at = text.find(canary)
            if at >= 0:
                found.append(text[max(0, at - 200) : at + len(canary) + 40])
    return found


def twins(value):
    """A value, and what copying makes of it."""
    return value, copy.copy(value), copy.deepcopy(value)
