"""urllib3: a `Retry` is asked what to do about every answer and every error, and there it is told.

Each request has a chain of its own, one `Retry` made from the other. The first one belongs to
everybody who uses the client: it never has an account.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import new_class

from urllib3.exceptions import ResponseError
from urllib3.util import Retry

from volnux.telemetry._switch import SWITCH
from volnux.telemetry.retries._call import begin_call

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

    from urllib3.connectionpool import ConnectionPool
    from urllib3.response import BaseHTTPResponse

    from volnux.telemetry.retries._call import Call

#: Where a link of a request's chain keeps our account of it.
CALL = "_volnux_call"
#: The status of the last answer here that was good enough, or had to be.
_answered: ContextVar[int | None] = ContextVar("volnux_answered", default=None)


def traced(target: Any) -> Any:
    """Return the traced form of a `Retry`; see `traced_retry`."""
    if not isinstance(target, Retry):
        raise TypeError(
            f"traced_retry takes a urllib3 Retry, as in traced_retry(Retry(3)), not {target!r}"
        )
    if isinstance(target, _Telling):
        return target
    kind = type(target)
    like = {name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")}
    telling = new_class(kind.__name__, (_Telling, kind), {}, lambda body: body.update(like))
    made: Any = object.__new__(telling)
    vars(made).update(vars(target))
    return made


def _is_redirect(response: BaseHTTPResponse | None, error: Exception | None) -> bool:
    return error is None and response is not None and bool(response.get_redirect_location())


def _failure(response: BaseHTTPResponse | None) -> Exception:
    if response is None or not response.status:
        return ResponseError(ResponseError.GENERIC_ERROR)
    return ResponseError(f"the server answered {response.status}")


if TYPE_CHECKING:
    from urllib3.util import Retry as _Bare
else:
    _Bare = object


class _Telling(_Bare):
    """What is put before any class of `Retry`."""

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        _pool: ConnectionPool | None = None,
        _stacktrace: TracebackType | None = None,
    ) -> Any:
        given = (method, url, response, error, _pool, _stacktrace)
        if not SWITCH.on:
            return super().increment(*given)
        if _is_redirect(response, error):
            return self._redirected(given)
        call = self._attempted(error or _failure(response))
        try:
            made = super().increment(*given)
        except BaseException as raised:
            _end(call, raised)
            raise
        if call is not None:
            call.wait()
            vars(made)[CALL] = call
        return made

    def _redirected(self, given: Any) -> Any:
        # A pool manager has asked about this answer before, and been told to take it.
        known = _answered.get() == given[2].status
        _answered.set(None)
        call = None if known else self._attempted(None)
        _end(call, None)
        made = super().increment(*given)
        following = begin_call()
        if following is not None:
            following.start()
            vars(made)[CALL] = following
        return made

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:  # noqa: FBT001, FBT002  # urllib3's signature
        again = super().is_retry(method, status_code, has_retry_after)
        if SWITCH.on and not again:
            _end(self._attempted(None), None)
            _answered.set(status_code)
        return again

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        call: Call | None = vars(self).get(CALL)
        try:
            super().sleep(response)
        except BaseException as error:
            _end(call, error)
            raise
        if call is not None:
            call.resume()

    def _attempted(self, error: Exception | None) -> Call | None:
        """Tell what came of an attempt, and return the account of its call."""
        _answered.set(None)
        call: Call | None = vars(self).pop(CALL, None)
        if call is None:
            call = begin_call()
            if call is not None:
                call.start(call.since())
        else:
            call.resume()
        if call is not None:
            call.stop(error)
        return call

    def __reduce_ex__(self, protocol: object) -> Any:
        kind = next(base for base in type(self).__mro__ if not issubclass(base, _Telling))
        plain = object.__new__(kind)
        vars(plain).update({name: one for name, one in vars(self).items() if name != CALL})
        return traced, (plain,)


def _end(call: Call | None, error: BaseException | None) -> None:
    if call is not None:
        call.end(error)
