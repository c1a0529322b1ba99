"""A tuning from its first trial to the variant of the winner, in a folder that resumes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from CONFIG.errors import BarzooError, DataError
from DATA_PROCESSING.labeled import label_panel
from TRAINING.phases.run import (
    Progress,
    check_apart,
    check_same_plan,
    full_disk_is_said,
    ledger_of,
    logged,
    write_papers,
)
from TRAINING.reports.tuning import render_tuning
from TRAINING.runs.ledger import Trial
from TRAINING.runs.lock import locked
from TRAINING.runs.manifest import digest
from TRAINING.runs.store import RunFolder
from TRAINING.runs.threads import quick_switches
from TRAINING.search.objective import FoldResult, run_trial_fold
from TRAINING.search.plan import TunePlan, engine_of
from TRAINING.search.study import Snapshot, TrialRecord, TrialStore, config_of, importances, optuna_module
from TRAINING.search.variant import check_variant, write_variant
from TRAINING.walkforward import WalkForwardEngine


@dataclass(frozen=True, eq=False)
class TuneOutcome:
    """What a tuning left behind.

    Attributes
    ----------
    folder : Path
    trials : list of TrialRecord
    importance : DataFrame
        ``feature`` (the key) and ``importance``.
    variant_file : Path, optional
        Where the winner was written; ``None`` where no trial was better than the configuration it began from.
    interrupted : bool
    """

    folder: Path
    trials: list[TrialRecord]
    importance: pd.DataFrame
    variant_file: Path | None
    interrupted: bool

    @property
    def best(self) -> TrialRecord:
        """The trial of the lowest value, the earliest among equals."""
        whole = [trial for trial in self.trials if trial.state == "complete"]
        return min(whole, key=lambda trial: (trial.value, trial.number))

    @property
    def exit_code(self) -> int:
        """0, 6 when trials failed, 130 when it was interrupted."""
        return 130 if self.interrupted else 6 if any(trial.state == "failed" for trial in self.trials) else 0


def run_tune(
    plan: TunePlan,
    folder: Path,
    *,
    trials: int,
    variant: str,
    jobs: int,
    progress: Progress,
    timeout: float | None = None,
    fresh: bool = False,
    stop: threading.Event | None = None,
) -> TuneOutcome:
    """Run trials until there are ``trials``, and write the winner as a variant; those found finished are kept.

    Parameters
    ----------
    plan : TunePlan
    folder : Path
        Made if it is not there.
    trials : int
        In all, with those found in the folder.
    variant : str
        What the winner is called in the user's own file.
    jobs : int
        Trials at once, one thread each.
    progress : Progress
    timeout : float, optional
        Seconds after which no trial begins; the rest is left for the next run.
    fresh : bool
        Forget what the folder holds.
    stop : Event, optional
        Once set, running folds finish and no other starts.

    Raises
    ------
    ConfigError
        Optuna is missing, the variant's name is taken, the folder holds another study or cannot be written.
    DataError
        The configuration that the search begins from cannot be trained.
    LockedError
        Another run is using the folder.
    """
    optuna_module()
    check_variant(plan.model, variant)
    store, stop = RunFolder(folder), stop or threading.Event()
    check_apart(folder, plan)
    store.create()
    with locked(folder), full_disk_is_said(folder):
        if fresh:
            store.clear()
        check_same_plan(store, plan)
        with logged(folder / "log.txt"):
            write_papers(store, plan, "tune", {"settings": plan.settings, "seed": plan.seed, "folds": plan.folds})
            if plan.inputs.builder is not None:
                with progress.stage("label", len(plan.inputs.symbols)) as step:
                    label_panel(plan.inputs.builder, store.tables, jobs=jobs, on_step=step, stopped=stop.is_set)
            kept = TrialStore.open(plan, folder)
            ends = None if timeout is None else time.monotonic() + timeout
            if not stop.is_set():
                _search(plan, kept, engine_of(plan, store.tables), trials, jobs, progress, ends, stop)
            return _finish(plan, store, kept, trials, variant, stop.is_set())


def _search(
    plan: TunePlan,
    kept: TrialStore,
    engine: WalkForwardEngine,
    trials: int,
    jobs: int,
    progress: Progress,
    ends: float | None,
    stop: threading.Event,
) -> None:
    from joblib import Parallel, delayed
    from threadpoolctl import threadpool_limits

    def is_over() -> bool:
        return stop.is_set() or (ends is not None and time.monotonic() > ends)

    done = sum(record.state != "waiting" for record in kept.trials()[:trials])
    # Threads serve, as in the walk-forward: models fit in native code.
    parallel = Parallel(jobs, backend="threading", return_as="generator_unordered", batch_size=1)
    with progress.stage("tune", max(trials - done, 0)) as step, quick_switches(), threadpool_limits(1, "blas"):
        for records, snapshot in kept.rounds(trials):
            waiting = (record for record in records if not is_over())
            for told in parallel(delayed(_run_trial)(plan, kept, engine, record, snapshot, stop) for record in waiting):
                step(told)
            if is_over():
                return


def _run_trial(
    plan: TunePlan,
    kept: TrialStore,
    engine: WalkForwardEngine,
    record: TrialRecord,
    snapshot: Snapshot,
    stop: threading.Event,
) -> str:
    """Run a trial's folds until one shows it hopeless; where it is stopped, it is left to be run again."""
    begun, results, means = time.monotonic(), [], []
    for fold in range(len(engine.folds)):
        if stop.is_set():
            return f"trial {record.number}: interrupted"
        try:
            results.append(run_trial_fold(plan, engine, config_of(plan, record.params), fold))
        except BarzooError as error:
            if record.number == 0:  # the rest would be compared with nothing
                raise DataError(f"tune: what the search begins from cannot be trained; {error}") from error
            kept.tell(record.number, "failed", results, time.monotonic() - begun, str(error))
            return f"trial {record.number}: failed {error}"
        means.append(_mean(results))
        kept.tell_fold(record.number, fold, means[-1])
        if fold + 1 < len(engine.folds) and snapshot.is_hopeless(means):
            kept.tell(record.number, "pruned", results, time.monotonic() - begun)
            return f"trial {record.number}: pruned behind fold {fold}, {means[-1]:.4f}"
    kept.tell(record.number, "complete", results, time.monotonic() - begun)
    return f"trial {record.number}: {means[-1]:.4f}"


def _mean(results: list[FoldResult]) -> float:
    return sum(result.loss for result in results) / len(results)


def _finish(
    plan: TunePlan, store: RunFolder, kept: TrialStore, trials: int, variant: str, interrupted: bool
) -> TuneOutcome:
    """Count the trials, write the papers and the variant."""
    records = [record for record in kept.trials() if record.state != "waiting" or record.number < trials]
    ledger_of(store, plan.inputs.history).add(_tries(plan, store, records))
    importance = importances(kept)
    outcome = TuneOutcome(store.path, records, importance, None, interrupted)
    frame = trial_table(plan, records)
    store.write("trials.csv", frame.to_csv(index=False, lineterminator="\n"))
    interrupted |= not records or records[0].state != "complete"  # by the timeout perhaps
    if interrupted:
        return TuneOutcome(store.path, records, importance, None, True)
    written = None
    if outcome.best.number != 0:
        best, first = outcome.best, records[0]
        about = (
            f"Tuned on {plan.target} of {plan.inputs.source}: {best.value:.4f} of {plan.rival}'s loss on its folds, "
            f"{first.value:.4f} before."
        )
        written = write_variant(plan.model, variant, config_of(plan, best.params), plan.space, about)
    meta = {
        "model": plan.model,
        "target": plan.target,
        "source": plan.inputs.source,
        "trials": f"{sum(record.state != 'waiting' for record in records)}",
        "folds": f"{plan.folds} before {plan.test_start}",
        "variant": variant if written else "none: nothing was better",
    }
    store.write("report.html", render_tuning(frame, importance, plan.rival, meta))
    return TuneOutcome(store.path, records, importance, written, False)


def trial_table(plan: TunePlan, records: list[TrialRecord]) -> pd.DataFrame:
    """One row per trial: ``trial``, ``state``, ``value``, ``folds``, ``mean`` (over those), the keys, ``reason``."""
    rows = []
    for record in records:
        values = config_of(plan, record.params)
        rows.append(
            {
                "trial": record.number,
                "state": record.state,
                "value": record.value,
                "folds": len(record.losses),
                "mean": list(record.losses.values())[-1] if record.losses else float("nan"),
                **{key: values[key] for key in plan.space},
                "sharpe": record.sharpe,
                "seconds": record.seconds,
                "reason": record.reason,
            }
        )
    return pd.DataFrame(rows)


def _tries(plan: TunePlan, store: RunFolder, records: list[TrialRecord]) -> Iterator[Trial]:
    """Every trial that gave a value could have been chosen, a pruned one too; one that failed could not."""
    features = digest(sorted({name for about in plan.inputs.symbols.values() for name in about.features}))
    for record in records:
        if record.state in ("complete", "pruned"):
            config = digest({"config": config_of(plan, record.params), "settings": plan.settings, "folds": plan.folds})
            yield Trial(store.path.resolve().name, plan.model, plan.target, config, features,
                        tuning_trial=str(record.number), sharpe=record.sharpe, sessions=record.sessions)  # fmt: skip
