"""What lies at the root of the exceptions of client libraries."""

from __future__ import annotations

#: The modules whose exceptions are the system's own.
_SYSTEM = {"builtins", "socket", "ssl"}


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
