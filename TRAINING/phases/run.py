"""Carry out a plan: label, train in parallel, and write the leaderboard and the report."""

from __future__ import annotations

import errno
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import yaml

from CONFIG.errors import ConfigError, DataError, IntegrityError
from DATA_PROCESSING.labeled import label_panel
from TRAINING.evaluation.baselines import left_out
from TRAINING.evaluation.sharpe import return_moments
from TRAINING.neural.loggers import check_logger
from TRAINING.phases.inputs import Inputs
from TRAINING.phases.plan import BASELINES, Plan, Unit
from TRAINING.phases.results import Results, collect
from TRAINING.phases.tracking import track
from TRAINING.phases.unit import run_batch
from TRAINING.phases.unit_result import UnitResult
from TRAINING.reports.leaderboard import leaderboard_csv
from TRAINING.runs.ledger import Ledger, Trial
from TRAINING.runs.lock import locked
from TRAINING.runs.manifest import NAME, digest, environment, read_sealed, seal
from TRAINING.runs.store import RunFolder
from TRAINING.runs.threads import quick_switches

log = logging.getLogger("barzoo")


class Progress(Protocol):
    """Told what happens; the terminal shows bars, a test can listen."""

    def stage(self, what: str, total: int) -> AbstractContextManager[Callable[[str], None]]:
        """While it lasts, the function it gives is called with a text for each of ``total`` steps."""


@dataclass(frozen=True)
class Outcome:
    """What a run left behind.

    Attributes
    ----------
    folder : Path
    results : Results
    interrupted : bool
    """

    folder: Path
    results: Results
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0, 6 when some units failed, 130 when it was interrupted."""
        failed = (self.results.units["status"] == "failed").any()
        return 130 if self.interrupted else 6 if failed else 0


def run_plan(
    plan: Plan,
    folder: Path,
    *,
    jobs: int,
    progress: Progress,
    fresh: bool = False,
    stop: threading.Event | None = None,
) -> Outcome:
    """Do what a plan says in a folder; units found finished there are kept, so running again resumes.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Made if it is not there.
    jobs : int
        Models trained at once, one thread each.
    progress : Progress
    fresh : bool
        Forget what the folder holds.
    stop : Event, optional
        Once set, running units finish and no other starts.

    Raises
    ------
    ConfigError
        The folder cannot be written, is full, or holds another plan's results.
    DataError
        Every model's units are skipped.
    LockedError
        Another run is using the folder.
    """
    from threadpoolctl import threadpool_limits

    if all(unit.model == BASELINES for unit in plan.todo):
        reason = next((unit.skip for unit in plan.units if unit.skip), "no symbol")
        raise DataError(f"{plan.inputs.source}: nothing to train, every unit is skipped; {reason}")
    for name in plan.settings["phases"]["loggers"]:
        check_logger(name)
    store = RunFolder(folder)
    store.create()
    stop = stop or threading.Event()
    check_apart(folder, plan)
    with locked(folder), threadpool_limits(1), full_disk_is_said(folder):
        if fresh:
            store.clear()
        check_same_plan(store, plan)
        with logged(folder / "log.txt"):
            more = {
                "windows": plan.windows,
                "settings": plan.inputs.settings,
            }
            write_papers(store, plan, plan.phase, more)
            warn_of_baselines(plan.inputs)
            _label(plan, store, jobs, progress, stop)
            results = _units(plan, store, jobs, progress, stop)
            collected = collect(plan, results)
            store.write("metrics.jsonl", "".join(f"{line}\n" for line in sorted(map(_metrics, results))))
            interrupted = any(result.status == "interrupted" for result in results)
            if not interrupted:
                with progress.stage("report", 1) as step:
                    _write_results(store, plan, collected)
                    step("report.html")
    return Outcome(folder, collected, interrupted)


@contextmanager
def full_disk_is_said(folder: Path) -> Iterator[None]:
    """An error for the user where the disk takes no more."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
            raise
        raise ConfigError(
            f"{folder}: cannot write ({error.strerror}); make room and run again, finished units are kept"
        ) from error


def check_apart(folder: Path, plan: Plan) -> None:
    """A run must not write, or clear, where its input lies."""
    folder = folder.resolve()
    for about in plan.inputs.symbols.values():
        if about.path is not None and folder in about.path.resolve().parents:
            raise ConfigError(f"{folder}: holds the input {about.path}; choose another --output-dir")


def warn_of_baselines(inputs: Inputs) -> None:
    """Say in the log which baseline the features leave out, since no row of the leaderboard does."""
    if note := left_out(inputs.features):
        log.warning(note)


def check_same_plan(store: RunFolder, plan: Plan) -> None:
    """Refuse a folder with the results of another plan; ``plan`` needs an ``identity`` only."""
    if not (store.path / NAME).exists():
        return
    try:
        manifest, _ = read_sealed(store.path)
    except IntegrityError as error:
        raise IntegrityError(f"{error}; or give --fresh to start over in {store.path}") from error
    if manifest.get("plan") != plan.identity:
        raise ConfigError(
            f"{store.path}: holds the results of another plan ({manifest.get('run_id')}); choose another --output-dir, "
            "or --fresh to replace them"
        )


def write_papers(store: RunFolder, plan: Plan, phase: str, more: dict) -> None:
    """Write what a run does and with what: its configuration, the environment, and a manifest with ``more``.

    The manifest holds all that the run can be repeated from, `TRAINING.phases.rerun`: the configuration as resolved,
    the source and the folder that it is relative to, and of each symbol the table's fingerprint and the extent.
    """
    store.write("config.resolved.yaml", yaml.safe_dump({"models": plan.models, **plan.settings}, sort_keys=False))
    about = environment()
    store.write("env.json", seal(about, {}))
    symbols = sorted(plan.inputs.symbols.items())
    body = {
        "run_id": plan.run_id,
        "plan": plan.identity,
        "phase": phase,
        "source": plan.inputs.source,
        "folder": str(Path.cwd()),
        "targets": plan.targets,
        "models": list(plan.models),
        "config": {"models": plan.models, **plan.settings},
        "tables": {symbol: known.fingerprint for symbol, known in symbols},
        "bars": {symbol: _extent(known.sessions) for symbol, known in symbols},
        "environment": about,
    }
    store.write(NAME, seal(body | more, {}))


def _extent(sessions: np.ndarray) -> dict[str, object]:
    """How many bars a symbol has, and the sessions of the first and the last."""
    return {"rows": len(sessions), "first": str(sessions.min()), "last": str(sessions.max())}


def _label(plan: Plan, store: RunFolder, jobs: int, progress: Progress, stop: threading.Event) -> None:
    inputs = plan.inputs
    if inputs.builder is None:
        return
    symbols = sorted({unit.symbol for unit in plan.todo})
    with progress.stage("label", len(symbols)) as step:
        label_panel(
            inputs.builder,
            store.tables,
            symbols=symbols,
            jobs=jobs,
            on_step=step,
            stopped=stop.is_set,
        )


def _units(plan: Plan, store: RunFolder, jobs: int, progress: Progress, stop: threading.Event) -> list[UnitResult]:
    from joblib import Parallel, delayed

    def train(batch: list[Unit]) -> list[UnitResult]:
        return _interrupted(batch) if stop.is_set() else run_batch(batch, plan, store)

    found = [UnitResult(unit, "skipped", unit.skip) for unit in plan.units if unit.skip]
    loggers = plan.settings["phases"]["loggers"]
    # Threads serve: the zoo's models fit in native code, which runs without Python's lock.
    parallel = Parallel(jobs, backend="threading", return_as="generator_unordered", batch_size=1)
    with progress.stage("train", len(plan.todo)) as step, quick_switches():
        for results in parallel(delayed(train)(batch) for batch in plan.batches()):
            for result in results:
                _record(store, result)
                unit = result.unit
                if loggers and result.status == "done" and not result.resumed and unit.model != BASELINES:
                    track(result, plan.models[unit.model], loggers, store.path)
                step(f"{unit.model} {unit.target} {unit.symbol}: {result.status} {result.reason}".strip())
                found.append(result)
    return found


def _interrupted(batch: list[Unit]) -> list[UnitResult]:
    return [UnitResult(unit, "interrupted", "interrupted before it started; run again to resume") for unit in batch]


def _metrics(result: UnitResult) -> str:
    """A unit's line of metrics.jsonl."""
    line = {name: getattr(result.unit, name) for name in ("model", "target", "symbol")} | {"status": result.status}
    line |= {"reason": result.reason} if result.reason else {}
    line |= {"seconds": result.record.get("seconds"), "scores": result.record.get("scores")}
    return json.dumps(line, sort_keys=True)


def _record(store: RunFolder, result: UnitResult) -> None:
    unit = result.unit
    if result.status == "interrupted" or result.resumed:
        return
    store.append_metrics(_metrics(result))
    level = logging.WARNING if result.status == "failed" else logging.INFO
    log.log(level, "%s %s %s: %s %s", unit.model, unit.target, unit.symbol, result.status, result.reason)


def _write_results(store: RunFolder, plan: Plan, results: Results) -> None:
    from TRAINING.phases.summary import draw, render

    ledger_of(store, plan.inputs.history).add(_trials(store, plan, results))
    store.write("leaderboard.csv", leaderboard_csv(results.leaderboard))
    store.write("units.csv", results.units.to_csv(index=False, lineterminator="\n"))
    store.write("report.html", render(plan, results))
    store.write("summary.png", draw(plan, results))


def ledger_of(store: RunFolder, history: str) -> Ledger:
    """The trials on a market history by all runs whose folders lie beside each other."""
    return Ledger(store.path.resolve().parent / "ledger", history)


def _trials(store: RunFolder, plan: Plan, results: Results) -> Iterator[Trial]:
    """Every model on every target is one that could have been chosen."""
    features = digest(sorted({name for about in plan.inputs.symbols.values() for name in about.features}))
    for (model, target), part in results.returns.groupby(["model", "target"], observed=True):
        if model in plan.models:
            config = digest({"config": plan.models[model], "settings": plan.settings, "windows": plan.windows})
            moments = return_moments(part["net_return"])
            yield Trial(store.path.resolve().name, model, target, config, features,
                        sharpe=moments.sharpe, sessions=moments.periods)  # fmt: skip


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """While it lasts, what the package logs goes to a file as well."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        handler.close()
