"""Functions as settings: given themselves in code, or by name, as ``"package.module:name"``, in a file.

The name is looked up when the configuration is made, so that one that leads nowhere is a fault of the configuration and
not of the first call that needs it.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from .check import shown

Function: TypeAlias = Callable[..., Any]

_NAME = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)")


def function(value: object) -> Function:
    """The function that is meant. Raises ValueError that says what is wrong."""
    if callable(value):
        return value
    found = _NAME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'must be a function, or the name of one as "package.module:name", not {shown(value)}')
    module, name = found.groups()
    try:
        thing: Any = importlib.import_module(module)
        for part in name.split("."):
            thing = getattr(thing, part)
    except ImportError as error:
        raise ValueError(f"the module {module!r:.80} cannot be imported: {error!s:.160}") from None
    except AttributeError:
        raise ValueError(f"there is no {name!r:.80} in the module {module!r:.80}") from None
    except Exception as error:  # of the module's own code, which runs when it is imported
        raise ValueError(f"the module {module!r:.80} cannot be imported: {type(error).__name__}") from error
    if not callable(thing):
        raise ValueError(f"{value!r:.80} is no function")  # noqa: TRY004 - all that is wrong is told in one way
    return thing  # type: ignore[no-any-return]
