"""Every model of the zoo on ten symbols of daily bars: seconds, memory, artifacts, and where the time goes.

Each model and task has a process of its own, with one thread and the variant `balanced`. Another one, on returns, is
watched from outside by py-spy (pip install "barzoo[benchmarks]"), which reads its stack, native frames too: a sample is
native unless its innermost frame is Python code or the interpreter. `--write` puts the rows into docs/11_ZOO.md; those
of models that were not asked for stay as they are there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np

from CONFIG.config_loader import load_model_config
from DATA_PROCESSING.dataset import Dataset, make_dataset
from DATA_PROCESSING.labeled import read_table
from TRAINING.artifacts import pack
from TRAINING.model_fun import MODELS, predictor_class
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.out_of_fold import hold_out_tail

SYMBOLS, ROWS = 10, 1250
TARGETS = {"binary": "y_will_peak", "regression": "fwd_ret_5"}
PAGE = Path(__file__).parent.parent / "docs" / "11_ZOO.md"
BEGIN, END = "<!-- written by benchmarks/zoo.py -->", "<!-- end -->"
LIBRARIES = ("lightgbm", "numba", "numpy", "pandas", "scikit-learn", "torch", "xgboost-cpu")
RATE, WATCHED, FEW = 20, 3.0, 3  # samples a second, of at least so many seconds of work, on so many symbols
FIGURES = """\
| model | train, s: classes | values | predict, ms: classes | values | artifact, KB | peak, MB | of it grown |
| --- | --: | --: | --: | --: | --: | --: | --: |"""
COSTS = """\
| model | native | largest | second | third |
| --- | --: | --- | --- | --- |"""
_FRAME = re.compile(r"(?P<function>.+) \((?P<file>[^()]+?)(?::\d+)?\)")


def load(folder: Path, task: str) -> list[tuple[Dataset, Dataset]]:
    """Labelled rows of each symbol, and the purged tail that stops training early."""
    pairs = []
    for path in sorted(folder.glob("*.parquet")):
        data = make_dataset(read_table(path), TARGETS[task], path.stem)
        data = data.take(data.y.notna().to_numpy())
        pairs.append(tuple(data.take(part) for part in hold_out_tail(data.X, data.rows, [data.y.name])))
    return pairs


def fit_all(model: str, variant: str, pairs: list[tuple[Dataset, Dataset]]) -> list[Trainer]:
    trainer = predictor_class(model)(load_model_config(model, variant=variant))
    trainer.lean = True  # as phases ask for it
    return trainer.fit_many(pairs)


def answer_all(trainers: list[Trainer], pairs: list[tuple[Dataset, Dataset]]) -> None:
    for trainer, (train, _) in zip(trainers, pairs, strict=True):
        trainer.predict_score(train.X)


def warm_up(model: str, pairs: list[tuple[Dataset, Dataset]]) -> None:
    """Import and compile what it needs."""
    answer_all(fit_all(model, "smoke", pairs[:1]), pairs[:1])


def peak() -> float:
    """The most memory that this process held, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024


def measure(model: str, task: str, folder: Path) -> dict[str, float]:
    """In a process of its own. Times are the processor's: a busy neighbour does not count."""
    pairs = load(folder, task)
    warm_up(model, pairs)
    before, started = peak(), time.process_time()
    trainers = fit_all(model, "balanced", pairs)
    trained = time.process_time()
    answer_all(trainers, pairs)
    answered = time.process_time()
    most = peak()  # before what writing artifacts takes
    sizes = [sum(map(len, pack(trainer)[1].values())) for trainer in trainers]
    return {
        "train": (trained - started) / len(pairs),
        "predict": (answered - trained) / len(pairs),
        "size": float(np.mean(sizes)),
        "peak": most,
        "grown": most - before,
    }


def repeat(model: str, task: str, folder: Path) -> None:
    """Train and answer for as long as is watched, and at least once."""
    pairs = load(folder, task)[: FEW if predictor_class(model).symbols_per_batch == 1 else None]
    warm_up(model, pairs)
    end = time.process_time() + WATCHED
    while True:
        answer_all(fit_all(model, "balanced", pairs), pairs)
        if time.process_time() > end:
            return


def run(*arguments: object, under: tuple[str, ...] = ()) -> str:
    """What this file prints in another process, with one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    command = [*under, sys.executable, "-W", "ignore", __file__, *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


def profile(model: str, task: str, folder: Path) -> Counter[tuple[str, bool]]:
    """Samples by the innermost Python function, and whether its time was native."""
    spy = shutil.which("py-spy") or sys.exit('py-spy is needed: pip install "barzoo[benchmarks]"')
    with tempfile.TemporaryDirectory() as name:
        raw = Path(name) / "stacks.txt"
        watch = (spy, "record", "--native", "--rate", str(RATE), "--format", "raw", "--output", str(raw), "--")
        run("--one", model, "--task", task, "--tables", folder, "--watched", under=watch)
        lines = raw.read_text(encoding="utf-8").splitlines()
    found: Counter[tuple[str, bool]] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        add_sample(found, stack.split(";"), int(count))
    return found


def add_sample(found: Counter[tuple[str, bool]], stack: list[str], count: int) -> None:
    """Count one stack, outermost frame first; what is neither training nor answering is left out."""
    frames = [(match["function"], match["file"]) for match in map(_FRAME.fullmatch, stack) if match]
    mine = {function for function, file in frames if Path(file).name == Path(__file__).name}
    if "warm_up" in mine or not mine & {"fit_all", "answer_all"}:
        return
    python = [frame for frame in frames if frame[1].endswith(".py") or frame[1].startswith("<")]
    function, file = python[-1]
    innermost = _FRAME.fullmatch(stack[-1])
    interpreted = innermost is not None and re.search(r"\.py$|^<|python3?[\d.]*(\.so[\d.]*)?$", innermost["file"])
    found[f"{short(file)} {function.rpartition('.')[2]}", not interpreted] += count


def short(file: str) -> str:
    """The last folder and the module's name."""
    parts = Path(file).with_suffix("").parts
    return "/".join(parts[-2:])


def costs_row(model: str, found: Counter[tuple[str, bool]]) -> str:
    functions: Counter[str] = Counter()
    for (function, _), count in found.items():
        functions[function] += count
    native = sum(count for (_, is_native), count in found.items() if is_native)
    most = [f"`{function}` {count / found.total():.0%}" for function, count in functions.most_common(3)]
    return f"| `{model}` | {native / found.total():.0%} | {' | '.join(most)} |"


def figures_row(model: str, tasks: dict[str, dict[str, float]]) -> str:
    cells = [
        f"{factor * tasks[task][what]:.{digits}f}" if task in tasks else ""
        for what, factor, digits in (("train", 1, 3), ("predict", 1000, 1))
        for task in TARGETS
    ]
    most = [max(of[what] for of in tasks.values()) for what in ("size", "peak", "grown")]
    return f"| `{model}` | {' | '.join(cells)} | {most[0] / 1024:.0f} | {most[1]:.0f} | {most[2]:.0f} |"


def machine() -> str:
    versions = ", ".join(f"{library} {version(library)}" for library in LIBRARIES)
    return (
        f"{SYMBOLS} symbols of {ROWS:,} bars, one thread of a machine with {os.cpu_count()} cores "
        f"({platform.machine()}); Python {platform.python_version()}, {versions}."
    )


def rows_of(page: str) -> list[dict[str, str]]:
    """The rows of the page's two tables by model."""
    tables = page.partition(BEGIN)[2].partition(END)[0].partition(COSTS)
    return [dict(re.findall(r"^(?=\| `(\w+)`)(.+)$", table, re.MULTILINE)) for table in tables[::2]]


def write(figures: dict[str, str], costs: dict[str, str]) -> None:
    """Put rows between the page's markers."""
    page = PAGE.read_text(encoding="utf-8")
    lines = [machine()]
    for heading, known, rows in zip((FIGURES, COSTS), rows_of(page), (figures, costs), strict=True):
        known = {model: row for model, row in (known | rows).items() if model in MODELS}
        lines += ["", heading, *(known[model] for model in sorted(known))]
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text("\n".join([before + BEGIN, *lines, END]) + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(sorted(MODELS)), help="separated by commas")
    parser.add_argument("--write", action="store_true", help="the rows into the page")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--task", choices=list(TARGETS), help=argparse.SUPPRESS)
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--tables", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watched:
        repeat(options.one, options.task, options.tables)
        return
    if options.one:
        print(json.dumps(measure(options.one, options.task, options.tables)))
        return
    from panel import labeled_folder

    figures, costs = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = labeled_folder(Path(name), SYMBOLS, ROWS)
        for model in options.models.split(","):
            tasks = predictor_class(model).tasks
            measured = {
                task: json.loads(run("--one", model, "--task", task, "--tables", folder).splitlines()[-1])
                for task in tasks
            }
            figures[model] = figures_row(model, measured)
            costs[model] = costs_row(model, profile(model, tasks[-1], folder))
            print(figures[model], costs[model], sep="\n", flush=True)
            if options.write:
                write(figures, costs)
    print("", machine(), "", FIGURES, *figures.values(), "", COSTS, *costs.values(), sep="\n")


if __name__ == "__main__":
    main()
