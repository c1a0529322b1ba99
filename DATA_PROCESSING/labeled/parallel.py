"""Calls per symbol, several at once: in threads, or in processes where there is much to do.

A kernel runs without Python's lock, but on a few thousand rows it is done so soon that two threads mostly wait for
each other's lock. Processes do not; each takes a second to start, and needs what it computes from sent to it.
"""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from CONFIG.errors import BarzooError

_WORTH_SECONDS = 3.0  # less work is done before processes have started
_IDLE_SECONDS = 30  # after which a process without work ends


def in_parallel(
    function: Callable[..., Any], calls: Iterable[tuple[str, tuple]], jobs: int, seconds: float
) -> Iterator[tuple[str, Any]]:
    """Call a function with the arguments of every symbol.

    Parameters
    ----------
    function : callable
    calls : iterable of (str, tuple)
        Symbols and arguments; taken up as workers get free.
    jobs : int
        Calls at once.
    seconds : float
        About how long all calls together take; 0 where the arguments cannot be sent to a process.

    Yields
    ------
    symbol, result : str, object
        As they are ready.

    Raises
    ------
    BarzooError
        A process was ended from outside.
    """
    from joblib import Parallel, delayed

    # No memory maps: what a process gets must be its own to write.
    options = {"backend": "loky", "max_nbytes": None, "idle_worker_timeout": _IDLE_SECONDS}
    if seconds < _WORTH_SECONDS:
        options = {"backend": "threading"}
    parallel = Parallel(jobs, return_as="generator_unordered", **options)
    try:
        with _interrupts_blocked():
            results = parallel(delayed(_call)(symbol, function, arguments) for symbol, arguments in calls)
        try:
            for found in results:  # noqa: UP028, it would close them before the warning is off
                yield found
        finally:
            with warnings.catch_warnings(action="ignore"):  # nobody wants to hear of results that nobody wanted
                results.close()
    except BrokenProcessPool as error:
        raise BarzooError(
            "a process that made tables was ended from outside, perhaps for lack of memory; "
            "run again to go on, with fewer --jobs"
        ) from error


def _call(symbol: str, function: Callable[..., Any], arguments: tuple) -> tuple[str, Any]:
    return symbol, function(*arguments)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Processes that are started here never see a Ctrl-C, which a terminal sends to all: this one decides what ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # its start, which would come in between, lets the signal through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
