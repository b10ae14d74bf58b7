"""Where refresh tokens are kept: in memory, or encrypted in files.

A refresh token that the server rotates is worth nothing once it has been used, and all that comes after it is in the
answer to that: whoever loses it needs a person who authorizes the program again.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from ..errors import AuthFailed
from ..secrecy import Masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config import Secret

_MOST = 1_000_000  # bytes of a file: one that is larger is none of ours


class Kept(Masked, msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A refresh token as it is kept."""

    key: str
    """Whose it is."""
    token: str | None
    """None: the server does not take it any more."""
    origin: str
    """A fingerprint of the configured one that it goes back to: where another is configured, that one counts."""


class TokenStore(Protocol):
    """Keeps refresh tokens by keys, which are texts without secrets."""

    async def load(self, key: str) -> Kept | None:
        """What was saved last, or None. Raises AuthFailed if that cannot be told."""
        ...

    async def save(self, kept: Kept) -> None:
        """Safe when it returns. Raises AuthFailed if it is not."""
        ...


class MemoryStore:
    """For as long as the process lives, and for the key that was used last: a service is one client at a time."""

    def __init__(self) -> None:
        self._kept: Kept | None = None

    async def load(self, key: str) -> Kept | None:
        """See `TokenStore.load`."""
        return self._kept if self._kept is not None and self._kept.key == key else None

    async def save(self, kept: Kept) -> None:
        """See `TokenStore.save`."""
        self._kept = kept


class EncryptedFileStore:
    """A folder of files, one for each key, encrypted and authenticated by Fernet (of the package cryptography).

    Args:
        folder: made if there is none.
        keys: of Fernet. The first one encrypts, all of them decrypt.
    """

    def __init__(self, folder: str, keys: Sequence[Secret]) -> None:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - of an extra

        self._folder = Path(folder)
        self._fernet = MultiFernet([Fernet(key.reveal()) for key in keys])
        self._threads = trio.CapacityLimiter(1)  # its own: a program that has all of its threads at work delays no save

    async def load(self, key: str) -> Kept | None:
        """See `TokenStore.load`."""
        return await trio.to_thread.run_sync(self._load, key, limiter=self._threads)

    async def save(self, kept: Kept) -> None:
        """See `TokenStore.save`."""
        # Not abandoned when cancelled: a thread that nobody waits for would write when it likes, over what came later.
        await trio.to_thread.run_sync(self._save, kept, limiter=self._threads)

    def _path(self, key: str) -> Path:
        return self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.token"

    def _load(self, key: str) -> Kept | None:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - of an extra

        path = self._path(key)
        try:
            with path.open("rb") as file:
                data = file.read(_MOST)
            kept = msgspec.json.decode(self._fernet.decrypt(data), type=Kept)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(path, "read", error) from None
        except (InvalidToken, msgspec.MsgspecError):
            raise _undecryptable(path) from None
        if kept.key != key:
            raise _undecryptable(path)
        return kept

    def _save(self, kept: Kept) -> None:
        """The old file or the new one, whole, whatever happens in between (rename(2) and fsync(2))."""
        path = self._path(kept.key)
        data = self._fernet.encrypt(msgspec.json.encode(kept))
        try:
            _make(self._folder)
            handle, name = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".new")  # with mode 0600
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(name).replace(path)
            except BaseException:
                with suppress(OSError):
                    Path(name).unlink()
                raise
            _sync(self._folder)
        except OSError as error:
            raise _unusable(path, "written", error) from None


def _make(folder: Path) -> None:
    """The folder, and those above it, if there are none; on the disk, or its files were lost with it."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    """A file's new name is in its folder, which has to reach the disk too."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unusable(path: Path, verb: str, error: OSError) -> AuthFailed:
    return AuthFailed(f"the refresh token cannot be {verb} ({path}): {error.strerror}", retryable=True)


def _undecryptable(path: Path) -> AuthFailed:
    return AuthFailed(
        f"the file of the refresh token cannot be decrypted ({path}): it was written with a key that is not among the "
        "keys of the store, or it is damaged. Add that key, or move the file away and configure a new refresh_token; "
        "nothing has been changed"
    )
