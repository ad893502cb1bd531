"""Events on disk between here and where they go: what was put there outlives this process, and leaves in that order.

A spool is a folder of segments. Entries are appended to the newest and read from the oldest; `position` says how far
reading has come, and a segment that was read to its end is removed. What was put is in the system's hands: it survives
the death of the process, not that of the machine. Nothing here awaits: callers have it done in a thread, one at a time.

Entries are lines. One that is torn, because a process died while it wrote, was never acknowledged, and is dropped.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import time
from typing import Final, Self

SEGMENT: Final = 8 * 1024 * 1024
"""Bytes after which another segment is begun."""
_POSITION: Final = "position"
_LOCK: Final = "lock"
_SUFFIX: Final = ".events"


class Spool:
    """One folder. Nobody else has it while this one is open. `most` is how many bytes may wait in it."""

    def __init__(self, folder: Path, *, most: int, segment: int = SEGMENT) -> None:
        self.folder = folder
        self.waiting = 0
        self._most = most
        self._segment = segment
        self._lock = -1
        self._segments: list[int] = []
        self._written = 0
        self._writer = -1
        self._reader = -1
        self._read = 0
        self._last = 0
        self._position = -1

    def open(self) -> Self:
        """Take the folder, and find what is in it. Raises OSError; BlockingIOError where somebody else has it."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = -1
            raise
        self._position = os.open(self.folder / _POSITION, os.O_RDWR | os.O_CREAT, 0o600)
        self._segments = sorted(int(path.stem) for path in self.folder.glob(f"*{_SUFFIX}"))
        number, offset = self._stored_position()
        for old in [each for each in self._segments if each < number]:
            self._path(old).unlink()
        self._segments = [each for each in self._segments if each >= number] or [max(number, 1)]
        self._read = offset if self._segments[0] == number else 0
        self._mend(self._segments[-1])
        sizes = [self._size(each) for each in self._segments]
        self.waiting = max(0, sum(sizes) - self._read)
        self._open_writer()
        return self

    def close(self) -> None:
        """Give the folder back; an empty one is removed."""
        empty = self.waiting == 0
        for descriptor in (self._writer, self._reader, self._position):
            if descriptor >= 0:
                os.close(descriptor)
        self._writer = self._reader = self._position = -1
        if empty and self._lock >= 0:
            for path in self.folder.iterdir():
                path.unlink()
            self.folder.rmdir()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def put(self, entries: Sequence[bytes], *, beyond: bool = False) -> int:
        """Append entries, which hold no line ends. Returns how many found room, all of them `beyond` the limit. Raises
        OSError where there is no disk for them, and then none of them is there."""
        room, taken = sum(map(len, entries)) + len(entries) if beyond else self._most - self.waiting, 0
        for entry in entries:
            room -= len(entry) + 1
            if room < 0:
                break
            taken += 1
        if not taken:
            return 0
        data = b"\n".join(entries[:taken]) + b"\n"
        if self._written and self._written + len(data) > self._segment:
            self._begin_segment()
        self._append(data)
        self.waiting += len(data)
        return taken

    def peek(self, most: int) -> Sequence[bytes]:
        """Return the oldest entries that were not yet `taken`, without taking them: in about so many bytes, but one."""
        while True:
            if self._reader < 0:
                self._reader = os.open(self._path(self._segments[0]), os.O_RDONLY)
            data = os.pread(self._reader, most, self._read)
            while data and b"\n" not in data and len(data) >= most:
                most *= 2
                data = os.pread(self._reader, most, self._read)
            whole = data[: data.rfind(b"\n") + 1]
            if whole:
                self._last = len(whole)
                return whole[:-1].split(b"\n")
            if len(self._segments) == 1:
                return ()
            self._leave_segment()

    def taken(self, number: int, entries: Sequence[bytes]) -> None:
        """Say that of the entries that `peek` returned the first so many have arrived."""
        size = sum(len(entry) + 1 for entry in entries[:number])
        self._read += size
        self.waiting -= size
        self._store_position()

    @property
    def oldest(self) -> float:
        """For how many seconds the oldest segment has waited; 0 where nothing waits."""
        if not self.waiting:
            return 0.0
        return max(0.0, time() - self._path(self._segments[0]).stat().st_ctime)

    def _append(self, data: bytes) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._writer, data[done:])
        except OSError:
            os.ftruncate(self._writer, self._written)  # half of it would be worse than nothing
            raise
        self._written += done

    def _begin_segment(self) -> None:
        self._segments.append(self._segments[-1] + 1)
        os.close(self._writer)
        self._open_writer()

    def _open_writer(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        self._writer = os.open(self._path(self._segments[-1]), flags, 0o600)
        self._written = os.fstat(self._writer).st_size

    def _leave_segment(self) -> None:
        """The oldest was read to its end, and a newer one is there."""
        os.close(self._reader)
        self._reader = -1
        done = self._segments.pop(0)
        self._read = 0
        self._store_position()
        self._path(done).unlink()

    def _mend(self, number: int) -> None:
        """Drop a torn entry at the end of the newest segment."""
        path = self._path(number)
        if not path.exists():
            return
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)

    def _stored_position(self) -> tuple[int, int]:
        text = os.pread(self._position, 64, 0).split()
        return (int(text[0]), int(text[1])) if len(text) == 2 else (0, 0)

    def _store_position(self) -> None:
        # of one width, so that it is written over in one piece
        os.pwrite(self._position, b"%020d %020d\n" % (self._segments[0], self._read), 0)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:012d}{_SUFFIX}"

    def _size(self, number: int) -> int:
        path = self._path(number)
        return path.stat().st_size if path.exists() else 0


def open_spools(parent: Path, *, most: int) -> Sequence[Spool]:
    """Return a spool of this process, and before it those that dead processes have left, each open and ours.

    Raises OSError where there is no place for one.
    """
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [*_abandoned(parent, most), Spool(parent / f"{os.getpid()}-{os.urandom(4).hex()}", most=most).open()]


def _abandoned(parent: Path, most: int) -> Iterator[Spool]:
    for folder in sorted(parent.iterdir()):
        if not folder.is_dir():
            continue
        try:
            yield Spool(folder, most=most).open()
        except BlockingIOError:
            continue  # its process lives
        except FileNotFoundError:
            continue  # somebody else has just emptied it
