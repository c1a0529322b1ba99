"""Wall time of the core phase's training outside LightGBM's native calls, by timing every call into its library."""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import threading
import time
from pathlib import Path

import lightgbm.basic
from core_phase import Clock
from panel import labeled_folder

from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Request, make_plan
from TRAINING.phases.run import run_plan


class TimedLibrary:
    """Stands in for the ctypes library and adds up the seconds spent inside it, over all threads."""

    def __init__(self, library: object) -> None:
        self.library, self.seconds, self.lock = library, 0.0, threading.Lock()

    def __getattr__(self, name: str) -> object:
        function = getattr(self.library, name)

        def timed(*arguments: object) -> object:
            started = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                took = time.perf_counter() - started
                with self.lock:
                    self.seconds += took

        setattr(self, name, timed)
        return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tables", help="A folder of labeled tables. [default: 100 synthetic symbols]")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    library = lightgbm.basic._LIB = TimedLibrary(lightgbm.basic._LIB)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables = options.tables or str(labeled_folder(folder, 100, 1250))
        mine = folder / "lightgbm.yaml"
        mine.write_text("variants:\n  long:\n    n_estimators: 1000\n    early_stopping_rounds: 0\n", encoding="utf-8")
        inputs = open_inputs(tables)
        warm = make_plan(Request(models=["lightgbm"], variant="smoke", symbols=None), inputs)
        run_plan(warm, folder / "warm-up", jobs=options.jobs, progress=Clock())
        for variant, limit in (("balanced", "25 ms a unit"), ("long", "15 % of wall time")):
            plan = make_plan(Request(models=["lightgbm"], variant=variant, files=(mine,)), inputs)
            units = sum(unit.model == "lightgbm" for unit in plan.todo)
            library.seconds, clock = 0.0, Clock()
            run_plan(plan, folder / variant, jobs=options.jobs, progress=clock)
            outside = clock.train - library.seconds / options.jobs
            print(
                f"{variant}: {units} units, {options.jobs} at once, {clock.train:.1f} s wall, outside native calls "
                f"{outside / clock.train:.1%} of it, {1000 * outside / units:.1f} ms a unit (limit: {limit})"
            )


if __name__ == "__main__":
    main()
