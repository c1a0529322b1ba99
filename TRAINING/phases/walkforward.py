"""The walk-forward phase: several models on several targets through one panel, in a folder that resumes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.labeled import label_panel
from TRAINING import __version__
from TRAINING.phases.inputs import Inputs
from TRAINING.phases.plan import Request, named_targets, resolve_models
from TRAINING.phases.run import Progress, check_same_plan, full_disk_is_said, logged, write_papers
from TRAINING.reports.walkforward import write_report
from TRAINING.runs.lock import locked
from TRAINING.runs.manifest import digest
from TRAINING.runs.store import RunFolder
from TRAINING.walkforward import WalkForwardEngine, WalkForwardResults
from TRAINING.walkforward.engine import Interrupted
from TRAINING.walkforward.panel import LabeledPanel, join_symbols
from TRAINING.walkforward.summary import summarise

SCOPES = ("pooled", "symbol", "both")


@dataclass(frozen=True, eq=False)
class WalkPlan:
    """Everything a walk-forward will do.

    Attributes
    ----------
    inputs : Inputs
    models : dict of str to dict
        Resolved configuration per model.
    targets : list of str
    scopes : list of str
        ``pooled``, ``symbol``, or both.
    settings : dict of str to dict
        The run configs ``walkforward``, ``split`` and ``backtest``, and those behind the tables.
    """

    inputs: Inputs
    models: dict[str, dict]
    targets: list[str]
    scopes: list[str]
    settings: dict[str, dict]

    @cached_property
    def identity(self) -> str:
        """Hash of everything that results depend on, but for the rows."""
        return digest(
            {
                "models": self.models,
                "targets": self.targets,
                "scopes": self.scopes,
                "settings": self.settings,
                "source": self.inputs.source,
                "symbols": sorted(self.inputs.symbols),
                "version": __version__,
            }
        )

    @property
    def run_id(self) -> str:
        """The run folder's default name; the same when the source has new bars, so that they only add folds."""
        return f"walkforward-{self.identity[:10]}"

    def units(self) -> Iterator[tuple[str, str, str]]:
        """Model, target and scope of each walk."""
        return ((m, target, scope) for target in self.targets for m in self.models for scope in self.scopes)


@dataclass(frozen=True, eq=False)
class WalkOutcome:
    """What a walk-forward left behind.

    Attributes
    ----------
    folder : Path
    results : dict of (str, str, str) to WalkForwardResults
        By model, target and scope.
    failed : dict of (str, str, str) to str
        Those that could not be done, and why.
    interrupted : bool
    """

    folder: Path
    results: dict[tuple[str, str, str], WalkForwardResults]
    failed: dict[tuple[str, str, str], str]
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0, 6 when some failed, 130 when it was interrupted."""
        folds = [results.folds for results in self.results.values()]
        failed = bool(self.failed) or any((frame["status"] == "failed").any() for frame in folds)
        return 130 if self.interrupted else 6 if failed else 0

    def leaderboard(self) -> pd.DataFrame:
        """A row per target, scope and name, with the metrics asked for; the best Sharpe ratio of a target first."""
        parts = []
        for (model, target, scope), results in self.results.items():
            frame = results.metrics.rename_axis("name").reset_index()
            kind = np.where(frame["name"] == model, "model", "baseline")
            parts.append(frame.assign(target=target, scope=np.where(kind == "model", scope, ""), kind=kind))
        if not parts:
            return pd.DataFrame(columns=["target", "name", "kind", "scope"])
        board = pd.concat(parts, ignore_index=True).drop_duplicates(["target", "name", "scope"])
        order = [name for name in ("sharpe", "rank_ic", "auc") if name in board][:1]
        board = board.sort_values(["target", *order, "name"], ascending=[True, *[False] * len(order), True])
        first = ["target", "name", "kind", "scope"]
        return board[[*first, *(column for column in board if column not in first)]].reset_index(drop=True)


def make_walk_plan(
    request: Request, inputs: Inputs, targets: list[str] | None = None, overrides: Mapping[str, object] | None = None
) -> WalkPlan:
    """Plan a walk-forward over the symbols of ``inputs``.

    Parameters
    ----------
    request : Request
        Its phase is ``walkforward``.
    inputs : Inputs
    targets : list of str, optional
        Those of the run config ``phases`` by default.
    overrides : mapping, optional
        Keys of the run config ``walkforward``; ``scope`` may be ``both``.

    Raises
    ------
    ConfigError
        An unknown model, variant, target or setting.
    """
    models, given = resolve_models(request), dict(overrides or {})
    scope = given.pop("scope", None)
    if scope is not None and scope not in SCOPES:
        raise ConfigError(f"--scope: {scope!r} is unknown{did_you_mean(str(scope), SCOPES)}")
    walk = load_run_config("walkforward", given, request.files)
    settings = {"walkforward": walk} | {
        topic: load_run_config(topic, files=request.files) for topic in ("split", "backtest")
    }
    phases = load_run_config("phases", files=request.files)
    targets = named_targets(targets or phases["walkforward_targets"], inputs)
    scopes = ["pooled", "symbol"] if scope == "both" else [scope or walk["scope"]]
    return WalkPlan(inputs, models, targets, scopes, settings | inputs.settings)


def read_labeled_panel(plan: WalkPlan, folder: Path | None) -> LabeledPanel:
    """The labeled rows of all symbols; those of bars from ``folder``, or made now."""
    tables = {symbol: plan.inputs.table(symbol, folder) for symbol in sorted(plan.inputs.symbols)}
    return LabeledPanel.of(join_symbols(tables))


def engine_of(plan: WalkPlan, panel: LabeledPanel, scope: str) -> WalkForwardEngine:
    """The engine of a plan, for one scope."""
    walk = plan.settings["walkforward"]
    names = ("train_days", "test_days", "step_days", "min_train_samples", "mode", "embargo_sessions")
    return WalkForwardEngine(panel, **{name: walk[name] for name in names}, scope=scope, split=plan.settings["split"])


def run_walk(
    plan: WalkPlan,
    folder: Path,
    *,
    jobs: int,
    progress: Progress,
    fresh: bool = False,
    stop: threading.Event | None = None,
) -> WalkOutcome:
    """Walk every model on every target; folds found finished are kept, so running again resumes.

    Parameters
    ----------
    plan : WalkPlan
    folder : Path
        Made if it is not there.
    jobs : int
        Folds at once.
    progress : Progress
    fresh : bool
        Forget what the folder holds.
    stop : Event, optional
        Once set, running folds finish and no other starts.

    Raises
    ------
    ConfigError
        The folder cannot be written, or holds another plan's results.
    DataError
        No fold is possible at all.
    LockedError
        Another run is using the folder.
    """
    store, stop = RunFolder(folder), stop or threading.Event()
    store.create()
    with locked(folder), full_disk_is_said(folder):
        if fresh:
            store.clear()
        check_same_plan(store, plan)
        with logged(folder / "log.txt"):
            return _walk(plan, store, jobs, progress, stop)


def _walk(plan: WalkPlan, store: RunFolder, jobs: int, progress: Progress, stop: threading.Event) -> WalkOutcome:
    write_papers(store, plan, "walkforward", {"scopes": plan.scopes, "settings": plan.settings})
    if plan.inputs.builder is not None:
        with progress.stage("label", len(plan.inputs.symbols)) as step:
            label_panel(plan.inputs.builder, store.tables, jobs=jobs, on_step=step, stopped=stop.is_set)
    results, failed, interrupted, first = {}, {}, stop.is_set(), None
    panel = None if interrupted else read_labeled_panel(plan, store.tables)
    for model, target, scope in () if interrupted else plan.units():
        engine, place = engine_of(plan, panel, scope), Path(model, target, scope)
        walks = len(engine.folds) * (1 if scope == "pooled" else len(panel.symbols))
        with progress.stage("walk", walks) as step:
            try:
                found = engine.run(
                    model,
                    plan.models[model],
                    target=target,
                    backtest=plan.settings["backtest"],
                    folder=store.path / "folds" / place,
                    jobs=jobs,
                    on_step=step,
                    stopped=stop.is_set,
                )
            except Interrupted:
                interrupted = True
                break
            except DataError as error:
                first = first or error
                failed[model, target, scope] = str(error)
                continue
        found.save(store.path / "results" / place)
        results[model, target, scope] = found
    if first is not None and not results and not interrupted:
        raise first
    outcome = WalkOutcome(store.path, results, failed, interrupted)
    if not interrupted:
        store.write("leaderboard.csv", outcome.leaderboard().to_csv(index=False, lineterminator="\n"))
        if results:
            with progress.stage("report", 1) as step:
                told = [f"{' '.join(walk)}: {reason}" for walk, reason in failed.items()]
                summary = summarise(list(results.values()))
                write_report(replace(summary, notes=[*summary.notes, *told]), store.path / "report.html")
                step("report.html")
    return outcome
