"""From the bytes of a reply to the caller's type, without a detour.

With a type, msgspec decodes straight into it (a Struct, dataclass, TypedDict, or builtin). Without one, JSON becomes
builtins, text becomes str, and anything else stays bytes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import DecodeError, InvalidRequest

if TYPE_CHECKING:
    from ..transport import Reply


_QUOTED = re.compile(r"(Invalid enum value|Invalid value|unknown field) .*", re.DOTALL)  # of the body
_PLACE = re.compile(r" - at `((?:key` in `)?\$[^`\s]*)`\Z")  # at the end: the body may have something like it, too
_kept = lru_cache(maxsize=256)(msgspec.json.Decoder)  # a decoder costs 100 times a decode of a small body


def _decoder(type_: Any) -> msgspec.json.Decoder[Any]:
    try:
        return _kept(type_)
    except TypeError:  # not hashable (some of Annotated), or nothing that msgspec can build
        return msgspec.json.Decoder(type_)


def check_type(type_: Any) -> None:
    """Raises InvalidRequest for a ``type`` into which no JSON can be decoded. (Known ones cost a look-up.)"""
    if type_ is None or type_ is bytes:
        return
    try:
        _decoder(type_)
    except Exception as error:  # msgspec resolves annotations, which can raise anything
        raise InvalidRequest(f"type={type_!r:.80} is nothing that JSON can be decoded into: {error}") from error


def decode(reply: Reply, type_: Any) -> Any:
    """The body of a reply as ``type_``; None for an empty body where no type was asked for.

    Raises:
        DecodeError: the body does not fit; ``field`` is the path of the first field that does not.
    """
    if type_ is bytes:
        return reply.body
    if type_ is None:
        return _guess(reply)
    return _decode(_decoder(type_), reply)


def _guess(reply: Reply) -> Any:
    if not reply.body:
        return None
    kind = (reply.header("content-type") or "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return _decode(_decoder(Any), reply)
    if kind.startswith("text/"):
        return reply.body.decode("utf-8", errors="replace")
    return reply.body


def _decode(decoder: msgspec.json.Decoder[Any], reply: Reply) -> Any:
    # What msgspec says is said in our text, where secrets that an answer may repeat can be taken out of it: its own
    # error is no cause to be shown beside it.
    try:
        return decoder.decode(reply.body)
    except msgspec.ValidationError as error:
        raise _misfit(str(error)) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise DecodeError(f"the body is not JSON: {error}", field="$") from None
    except Exception as error:  # of the type's own __post_init__, which is not ours to trust
        raise DecodeError(f"the type does not take the body: {type(error).__name__}", field="$") from error


def _misfit(text: str) -> DecodeError:
    place = _PLACE.search(text)
    reason, at = (text, "") if place is None else (text[: place.start()], place[0])
    reason = _QUOTED.sub(r"\1 (not shown)", reason)
    return DecodeError(f"the body does not fit the type: {reason}{at}", field="$" if place is None else place[1])
