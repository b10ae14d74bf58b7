"""What goes wrong in code of the user's that deals with secrets: told without a word of what it says itself.

The text of such an error may hold the secret (``KeyError: 'Bearer ...'``), and its traceback holds the variables of the
frames, which some loggers print. So it is neither quoted nor kept as a cause; what is said is its type and its place.
"""

from __future__ import annotations

from pathlib import PurePath

from ..errors import AuthFailed, ServiceError


def failure_of(what: str, error: Exception) -> AuthFailed:
    """The error for a call, of what ``what`` raised. It is always worth another try: nobody knows what went wrong."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:  # as of a nursery in it
        (error,) = error.exceptions
    if isinstance(error, AuthFailed):  # said in our words, by whoever wants it told
        return AuthFailed(error.message, retryable=True, retry_at=error.retry_at)
    if isinstance(error, ServiceError):  # it has called a service, whose errors are fit to be told
        return AuthFailed(f"{what} failed: {error.code.value}", retryable=True, retry_at=error.retry_at)
    return AuthFailed(f"{what} raised {type(error).__name__}{_place(error)}", retryable=True)


def _place(error: Exception) -> str:
    trace = error.__traceback__
    if trace is None:
        return ""
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f" in {code.co_name} ({PurePath(code.co_filename).name}, line {trace.tb_lineno})"
