"""Which headers and parameters are taken to hold a credential: by their names, and by one rule for everybody.

The queue does not write them to disk, the cache keeps the answers of callers apart who differ in them, the
configuration keeps them as a `Secret`, and logs lose their values. A name that is taken for one without being it costs
little; one that is missed costs a secret.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORDS = frozenset({"auth", "jwt", "pwd", "sid", "sig"})  # whole ones, for `author` is none of them
_PARTS = re.compile(
    "apikey|assertion|authoriz|cookie|credential|passw|secret|session|signature|token|(access|private)key"
)


@lru_cache(maxsize=1024)  # a program has few of them, and the cache of answers asks with each call
def looks_secret(name: str) -> bool:
    """Whether a header or a parameter of this name may be a credential: ``X-API-Key``, ``accessToken``, ``pwd``."""
    words = re.findall("[A-Z]?[a-z]+|[A-Z]+|[0-9]+", name)
    compact = re.sub("[^a-z]", "", name.lower())
    if _PARTS.search(compact) is not None:
        return True
    return not _WORDS.isdisjoint(word.lower() for word in words)
