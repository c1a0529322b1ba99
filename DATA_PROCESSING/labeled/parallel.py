"""Calls per symbol, several at once: in threads, or in processes where there is much to do.

A kernel runs without Python's lock, but on a few thousand rows it is done so soon that two threads mostly wait for
each other's lock. Processes do not; each takes a second to start, and needs what it computes from sent to it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Any

from CONFIG.errors import BarzooError

_WORTH_SECONDS = 3.0  # less work is done before processes have started
_IDLE_SECONDS = 30  # after which a process without work ends


def in_parallel(
    function: Callable[..., Any], calls: Iterable[tuple[str, tuple]], count: int, jobs: int, seconds: float
) -> Iterator[tuple[str, Any]]:
    """Call a function with the arguments of every symbol.

    Parameters
    ----------
    function : callable
    calls : iterable of (str, tuple)
        Symbols and arguments; taken up as workers get free.
    count : int
        How many calls there are.
    jobs : int
        Calls at once; those that wait for a worker, about as many again, are taken up already.
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
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    jobs = min(jobs, max(count, 1)) if jobs > 0 else jobs
    if jobs == 1 or seconds < _WORTH_SECONDS:
        options = {"backend": "threading", "batch_size": 1, "pre_dispatch": "n_jobs"}
        call, shield = _call, nullcontext()
    else:
        # No memory maps: what a process gets must be its own to write.
        options = {"backend": "loky", "max_nbytes": None, "idle_worker_timeout": _IDLE_SECONDS}
        call, shield = partial(_call_apart, os.getpid()), _interrupts_blocked()
    parallel = Parallel(jobs, return_as="generator_unordered", **options)
    try:
        with shield:
            results = parallel(delayed(call)(symbol, function, arguments) for symbol, arguments in calls)
        try:
            for found in results:  # noqa: UP028, it would close them before the warning is off
                yield found
        finally:
            with warnings.catch_warnings(action="ignore"):  # nobody wants to hear of results that nobody wanted
                results.close()
    except TerminatedWorkerError as error:
        raise BarzooError(
            "a process that made tables was ended from outside, perhaps for lack of memory; "
            "run again to go on, with fewer --jobs"
        ) from error
    except BrokenProcessPool as error:
        raise BarzooError(
            "what makes tables, or an error in it, cannot be sent from process to process; --jobs 1 does without "
            f"({error.__cause__ or error})".splitlines()[0]
        ) from error


def _call(symbol: str, function: Callable[..., Any], arguments: tuple) -> tuple[str, Any]:
    return symbol, function(*arguments)


def _call_apart(parent: int, symbol: str, function: Callable[..., Any], arguments: tuple) -> tuple[str, Any]:
    _end_with(parent)
    return _call(symbol, function, arguments)


@cache
def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone, which a kill gives no chance to say."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


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
