"""``barzoo --help`` against half a second, and the whole demo run against a minute, as whole processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time


def seconds(arguments: list[str], times: int) -> float:
    """Median wall time of a command in an empty folder, after one run to warm caches."""
    taken = []
    for _ in range(times + 1):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            command = [sys.executable, "-m", "TRAINING", *arguments]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def main() -> None:
    for arguments, limit, times in (
        (["--help"], 0.5, 9),
        (["train", "--phase", "core", "--dry-run"], 5.0, 3),
        (["train", "--phase", "core"], 60.0, 3),
    ):
        took = seconds(arguments, times)
        print(f"barzoo {' '.join(arguments)}: {took:.2f} s, {took / limit:.0%} of its limit of {limit:g} s")


if __name__ == "__main__":
    main()
