"""One run at a time in a folder. The lock is the operating system's, so it dies with its process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from CONFIG.errors import LockedError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    Raises
    ------
    LockedError
        Another process holds it.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(Path(folder) / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LockedError(
            f"{folder}: another run is writing here; wait for it, or choose another --output-dir"
        ) from error
    try:
        yield
    finally:
        lock.release()
