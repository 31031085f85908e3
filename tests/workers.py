"""What runs in other processes, in a module that they can import."""

from __future__ import annotations

import os
import pickle


def in_fork(function):
    """Call a function in a forked child; return what it returned, raise what it raised."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                answer = (function(), None)
            except BaseException as error:
                answer = (None, error)
            with os.fdopen(writing, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    result, error = pickle.loads(data)
    if error is not None:
        raise error
    return result
