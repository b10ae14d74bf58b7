"""Errors that leave a place where credentials are handled as they are: without the frames of that place.

The frames of a transport hold in their locals what goes over the wire: ours as well as those of httpx, httpcore, h11
and ssl. Whoever shows the locals of a traceback would show it. (To clear them, as `traceback.clear_frames` does, helps
only where they have ended; and no rule for our own locals binds the authors of other libraries.)
"""

from __future__ import annotations

import traceback
from typing import TypeVar

import trio

from ..errors import ServiceError

_E = TypeVar("_E", bound=BaseException)

_EXPECTED = (ServiceError, trio.TooSlowError)


def sealed(error: _E) -> _E:
    """The error, without the frames it has come through; to be raised, or to be a cause.

    An error of ours says what happened, and where in the code it was found is no news. Of any other, which is a bug or
    a library's, the lines are kept as a note: text, which has no locals. What it has come of, and says itself that is
    not to be shown (``from None``, or from another cause), goes too: there are those who look at it all the same.
    """
    if error.__suppress_context__:
        error.__context__ = None
    if not isinstance(error, _EXPECTED) and error.__traceback__ is not None:
        error.add_note("".join(("It came through\n", *traceback.format_tb(error.__traceback__))).rstrip())
    return error.with_traceback(None)
