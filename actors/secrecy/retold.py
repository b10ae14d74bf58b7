"""An exception that is not ours, as the cause of an error of ours: to be read, and without the secrets in it.

What a transport raises may quote a URL with its query, has the request that we made among its attributes, and the
bytes in the locals of its frames. It cannot be mended from outside, so another one stands in its place, and makes a
text of it when somebody asks: in an outage thousands are raised that nobody will read, and the text of a traceback
costs ten times what a call does.
"""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, Any

from ..errors import ServiceError
from .masked import MASK
from .named import without_named
from .sealed import sealed

if TYPE_CHECKING:
    from collections.abc import Callable

_QUERY = re.compile(r"(?<=[\w/])(\?)[^\s'\"<>]+")


def cause_of(error: BaseException, scrub: Callable[[str], str]) -> BaseException:
    """What to raise an error of ours from. One of ours is a cause as it is: its text quotes nothing."""
    return sealed(error) if isinstance(error, ServiceError) else Retold(error, scrub)


class Retold(Exception):
    """The cause of an error of ours: its text is the traceback of the exception in whose place it stands.

    Args:
        error: that exception. It is in ``error`` for programs; nothing of it is shown.
        scrub: takes secrets out of a text.
    """

    def __init__(self, error: BaseException, scrub: Callable[[str], str]) -> None:
        super().__init__()
        self.error = error
        self._scrub = scrub

    def __str__(self) -> str:
        return "\n" + self.text("".join(traceback.format_exception(self.error)))

    def __repr__(self) -> str:
        return f"<Retold {type(self.error).__module__}.{type(self.error).__qualname__}>"

    def text(self, text: str) -> str:
        """Without secrets, and of URLs only hosts and paths: parameters may be secrets of the caller's."""
        return self._scrub(without_named(_QUERY.sub(rf"\1{MASK}", text)))

    def __reduce__(self) -> tuple[Any, ...]:
        return RuntimeError, (str(self),)
