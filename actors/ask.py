"""Asking an actor of ours from a program's task: the kernel's errors become `ServiceError`s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from switchgear.runtime import ActorCrashed, ActorError

from . import errors

if TYPE_CHECKING:
    from switchgear.runtime import Ref


async def ask(ref: Ref, message: Any) -> Any:
    """The reply. Raises ActorCrashed or ShuttingDown, both of them `ServiceError`s."""
    try:
        return await ref.ask(message)
    except ActorCrashed as error:
        raise errors.ActorCrashed(f"{error}; ask again, it is being restarted") from error
    except ActorError as error:
        raise errors.ShuttingDown(f"the runtime has ended ({error})") from error
