"""What the exceptions of sockets and client libraries come from."""

from __future__ import annotations

#: The modules whose exceptions are the system's own.
_SYSTEM = {"builtins", "socket", "ssl"}
#: What TLS says of a socket that does not block, when it is not ready.
_WANTS = {"SSLWantReadError", "SSLWantWriteError"}


def root_of(error: BaseException) -> BaseException:
    """Return what lies at the root of a library's exception: an error of the system or of TLS.

    A library wraps what the socket raised, each in its own way: by `raise … from`, in an attribute, or
    as an argument. Where no such error is found, it is the exception itself. What was merely being
    handled at the time (`__context__`) may be the program's own, and is not looked at.
    """
    found: BaseException | None = error
    best, seen = error, set[int]()
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, OSError) and type(found).__module__ in _SYSTEM:
            best = found
            if found.errno is not None:
                break
        found = _made_of(found)
    return best


def _made_of(error: BaseException) -> BaseException | None:
    named = (getattr(error, name, None) for name in ("os_error", "reason", "__cause__"))
    group = getattr(error, "exceptions", ())  # of several addresses that failed, the first
    parts = (*named, *(group if isinstance(group, tuple) else ()), *error.args)
    return next((each for each in parts if isinstance(each, Exception)), None)


def is_trouble(error: BaseException) -> bool:
    """Return whether what a socket raises is a trouble of its connection's."""
    # That nothing can be sent or read just now is how non-blocking sockets work; and what a call
    # itself was wrong about, such as its arguments, is none of the connection's.
    return not isinstance(error, Exception) or (
        isinstance(error, OSError)
        and not isinstance(error, BlockingIOError)
        and type(error).__name__ not in _WANTS
    )
