"""Records as lines of JSON in a file."""

from __future__ import annotations

import os
from json import JSONEncoder
from stat import S_ISREG
from threading import RLock
from typing import TYPE_CHECKING

from volnux.telemetry._fork import on_fork
from volnux.telemetry._publisher import MetricsPublisher
from volnux.telemetry.errors import PublishError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from volnux.telemetry._publisher import Record, Verdict
    from volnux.telemetry._records import EventMetrics

_encode = JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_APPEND = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


class JSONLinesPublisher(MetricsPublisher):
    """Appends each record to a file, as one line of JSON: its `to_dict()`.

    Whole lines are written at once, so any number of threads and processes may share the file, and
    a crash can tear no more than a last line; `read_jsonlines` passes over that. With `max_bytes`
    the file is renamed to `path.1` when it has grown so large, `path.1` to `path.2`, and so on. A
    file that something else has renamed or removed is opened anew.

    Args:
        path: the file; it is created when the first record comes.
        max_bytes: the size from which on a file is set aside; None for never. A file exceeds it by
            no more than one batch.
        backups: how many files set aside are kept.
        fsync: have `flush` and `close` wait until the disk has the data.

    Raises:
        FileNotFoundError: the directory is not there.
        IsADirectoryError, PermissionError: nobody can write there.
        TypeError, ValueError: a path is none, or a number is none or out of range.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int | None = None,
        backups: int = 5,
        fsync: bool = False,
    ) -> None:
        if max_bytes is not None:
            _check_number("max_bytes", max_bytes, ", or None for no limit")
            if max_bytes < 1:
                raise ValueError(
                    f"max_bytes must be above 0, or None for no limit, not {max_bytes}"
                )
        _check_number("backups", backups)
        if backups < 0:
            raise ValueError(f"backups must be 0 or more, not {backups}")
        self.path: str = os.path.abspath(_as_text(path))
        _check_path(self.path)
        self._max_bytes = max_bytes
        self._backups = backups
        self._fsync = fsync
        self._lock = RLock()
        self._file: int | None = None
        self._is_regular = True
        self._pid = 0
        on_fork(self)

    def __repr__(self) -> str:
        return f"JSONLinesPublisher({self.path!r})"

    def publish_event_metrics(self, metrics: EventMetrics) -> None:
        """Append the record of one event."""
        self._append([_encode(metrics.to_dict())])

    def publish_network_metrics(self, metrics: dict[str, Any]) -> None:
        """Append one network operation."""
        self._append([_encode(metrics)])

    def publish_batch(self, records: Sequence[Record]) -> Sequence[Verdict] | None:
        """Append several records with one write.

        Returns:
            None, or where the disk was full in the middle of it: which lines are in the file.

        Raises:
            PublishError: nothing could be written.
        """
        lines = [_encode(record.to_dict()) for record in records]
        written = self._append(lines)
        if written == len(lines):
            return None
        return ["ok" if place < written else "retry" for place in range(len(lines))]

    def flush(self, timeout: float | None = None) -> bool:  # a disk has no deadline
        """Wait for the disk, if `fsync` was asked for; there is nothing else to push out."""
        with self._lock:
            if self._fsync and self._file is not None and self._is_regular:
                os.fsync(self._file)
        return True

    def close(self, timeout: float | None = None) -> None:
        """Close the file. The next record would open it again."""
        with self._lock:
            try:
                self.flush(timeout)
            finally:
                self._close()

    # -- the file --------------------------------------------------------------------------------

    def _append(self, lines: list[str]) -> int:
        """Write whole lines; return how many of them are in the file now."""
        data = ("\n".join(lines) + "\n").encode("ascii")
        with self._lock:
            try:
                written = self._write(data)
            except OSError as error:
                self._close()
                raise PublishError(f"cannot write {self.path}: {error.strerror}") from error
        return len(lines) if written == len(data) else data[:written].count(b"\n")

    def _write(self, data: bytes) -> int:
        file = self._hold_current()
        try:
            size = os.fstat(file).st_size if self._is_regular else 0
            # Whoever was stopped in the middle of a line has left it open for us to end.
            torn = b"\n" if size and _last_byte(file) != b"\n" else b""
            written = os.write(file, torn + data) - len(torn)
        finally:
            self._release(file)
        if self._max_bytes is not None and self._is_regular and size + written >= self._max_bytes:
            self._set_aside(file)
        return max(0, written)

    def _hold_current(self) -> int:
        """Return the file that stands at the path, kept from being renamed until `_release`."""
        while True:
            file = self._open()
            self._hold(file, exclusive=False)
            if self._max_bytes is None or self._is_in_place():
                return file
            self._release(file)  # renamed between two lines of ours

    def _open(self) -> int:
        """Return the file that stands at the path now, opened by this process."""
        if self._file is not None and (self._pid != os.getpid() or not self._is_in_place()):
            self._close()
        if self._file is None:
            # 0o666 less the umask, as `open` does it.
            self._file = os.open(self.path, _APPEND, 0o666)
            self._pid = os.getpid()
            self._is_regular = S_ISREG(os.fstat(self._file).st_mode)
        return self._file

    def _is_in_place(self) -> bool:
        if not self._is_regular or self._file is None:
            return True
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file)
        return (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino)

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            try:
                os.close(file)
            except OSError:  # an NFS server may report here what it failed to write long ago
                pass

    # -- rotation --------------------------------------------------------------------------------

    def _hold(self, file: int, *, exclusive: bool) -> None:
        """Keep others from renaming the file, or from writing to it, if files are renamed at all."""
        if self._max_bytes is not None and self._is_regular and fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)

    def _release(self, file: int) -> None:
        if self._max_bytes is not None and self._is_regular and fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_UN)

    def _set_aside(self, file: int) -> None:
        """Rename the file to `.1`, and those before it onwards, unless another process just has."""
        try:
            self._hold(file, exclusive=True)
            if self._is_in_place():
                self._rename()
        except OSError:
            # What was to be written is written. A file that grows too large is better than records
            # that are sent again and again; the next batch tries once more.
            pass
        finally:
            self._close()

    def _rename(self) -> None:
        names = [self.path, *(f"{self.path}.{number + 1}" for number in range(self._backups))]
        for older, newer in zip(names[-2::-1], names[:0:-1], strict=True):
            if os.path.exists(older):
                os.replace(older, newer)
        if not self._backups:
            os.unlink(self.path)

    def _after_fork(self) -> None:
        self._lock = RLock()


def _last_byte(file: int) -> bytes:
    # Where the file is read from does not change where it is appended to.
    os.lseek(file, -1, os.SEEK_END)
    return os.read(file, 1)


def _check_number(name: str, value: object, otherwise: str = "") -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be a whole number{otherwise}, not {value!r}")


def _as_text(path: object) -> str:
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise TypeError(f"path must be a str or a pathlib.Path, not {path!r}")
    return text


def _check_path(path: str) -> None:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"there is no directory {folder!r} for {path!r}: make it first")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path!r} is a directory: give the name of a file in it")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise PermissionError(f"{path!r} cannot be written by this user")
