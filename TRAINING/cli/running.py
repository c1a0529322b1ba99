"""What commands that train share: how many models at once, and how they stop."""

from __future__ import annotations

import os
import signal
import sys
import threading

NO_LAG = "warning: execution_lag 0 fills at the close that gave the signal; no one can trade that"


def workers(models: dict[str, dict]) -> int:
    """Models at once so that their threads do not outnumber the cores."""
    from joblib import cpu_count

    threads = max(config.get("n_jobs", 1) for config in models.values())
    return 1 if threads < 1 else max(1, cpu_count() // threads)


def stop_on_interrupt() -> threading.Event:
    """The first Ctrl-C lets running units finish; the second ends the process, which loses only those."""
    stop = threading.Event()

    def interrupt(number: int, frame: object) -> None:
        if stop.is_set():
            if sys.stderr.isatty():
                os.write(2, b"\x1b[?25h")  # the progress bar hides the cursor
            os._exit(130)
        stop.set()
        # Not through sys.stderr: the signal may come in the middle of a write to it, and it cannot be entered twice.
        os.write(2, b"\ninterrupted: finishing the running units (once more to stop at once)\n")

    signal.signal(signal.SIGINT, interrupt)
    return stop
