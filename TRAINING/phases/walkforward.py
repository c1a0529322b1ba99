"""The walk-forward phase: several models on several targets through one panel, in a folder that resumes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError, DataError, did_you_mean
from DATA_PROCESSING.labeled import label_panel
from DATA_PROCESSING.labels import label_of
from TRAINING import __version__
from TRAINING.evaluation.sharpe import return_moments
from TRAINING.phases.inputs import Inputs
from TRAINING.phases.plan import Request, chosen_features, named_targets, resolve_models
from TRAINING.phases.run import (
    Progress,
    check_apart,
    check_same_plan,
    full_disk_is_said,
    ledger_of,
    logged,
    warn_of_baselines,
    write_papers,
)
from TRAINING.reports.leaderboard import complete, leaderboard_csv
from TRAINING.reports.walkforward import write_report
from TRAINING.runs.ledger import Trial
from TRAINING.runs.lock import locked
from TRAINING.runs.manifest import digest, read_sealed
from TRAINING.runs.store import RunFolder
from TRAINING.walkforward import WalkForwardEngine, WalkForwardResults
from TRAINING.walkforward.engine import Interrupted
from TRAINING.walkforward.gated import gate_results
from TRAINING.walkforward.panel import LabeledPanel, join_symbols
from TRAINING.walkforward.summary import summarise

SCOPES = ("pooled", "symbol", "both")
_TOLD = "metrics.jsonl"  # written when all walks are done


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
        """Model, target and scope of each walk; those of gates that are no target come last."""
        targets = dict.fromkeys([*self.targets, *self.settings["gates"]["targets"]])
        return ((m, target, scope) for target in targets for m in self.models for scope in self.scopes)

    def gated(self) -> list[str]:
        """The targets whose positions pass through gates: those that are traded and no gates themselves."""
        gates = self.settings["gates"]["targets"]
        labels = {target: label_of(target) for target in self.targets if gates and target not in gates}
        return [target for target, label in labels.items() if label and label.money_rule]


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
    leaderboard : DataFrame
        See `TRAINING.walkforward.leaderboard`; empty when it was interrupted.
    interrupted : bool
    """

    folder: Path
    results: dict[tuple[str, str, str], WalkForwardResults]
    failed: dict[tuple[str, str, str], str]
    leaderboard: pd.DataFrame
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0, 6 when some failed, 130 when it was interrupted."""
        folds = [results.folds for results in self.results.values()]
        failed = bool(self.failed) or any((frame["status"] == "failed").any() for frame in folds)
        return 130 if self.interrupted else 6 if failed else 0


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
    inputs = chosen_features(request, inputs)
    scope = given.pop("scope", None)
    if scope is not None and scope not in SCOPES:
        raise ConfigError(f"--scope: {scope!r} is unknown{did_you_mean(str(scope), SCOPES)}")
    walk = load_run_config("walkforward", given, request.files)
    settings = {"walkforward": walk} | {
        topic: load_run_config(topic, files=request.files) for topic in ("split", "backtest", "gates")
    }
    phases = load_run_config("phases", files=request.files)
    targets = named_targets(targets or phases["walkforward_targets"], inputs)
    settings["gates"]["targets"] = _gates(settings["gates"]["targets"], inputs)
    scopes = ["pooled", "symbol"] if scope == "both" else [scope or walk["scope"]]
    plan = WalkPlan(inputs, models, targets, scopes, settings | inputs.settings)
    if settings["gates"]["targets"] and not plan.gated():
        raise ConfigError(
            f"gates: there are no positions to gate, got the targets {', '.join(targets)}; add one that is traded and "
            "no gate itself, such as fwd_ret_5"
        )
    return plan


def _gates(targets: list[str], inputs: Inputs) -> list[str]:
    """Gates as the tables call them; a target of the user's own shows its task only when it is walked."""
    named = named_targets(targets, inputs)
    for target in named:
        label = label_of(target)
        if label and label.task != "binary":
            raise ConfigError(
                f"gates: {target} is a {label.task}, and a gate needs a probability; name a binary target"
            )
    return named


def read_labeled_panel(plan: WalkPlan, folder: Path | None) -> LabeledPanel:
    """The labeled rows of all symbols; those of bars from ``folder``, or made now."""
    tables = {symbol: plan.inputs.table(symbol, folder) for symbol in sorted(plan.inputs.symbols)}
    return LabeledPanel.of(join_symbols(tables))


def engine_of(plan: WalkPlan, panel: LabeledPanel, scope: str) -> WalkForwardEngine:
    """The engine of a plan, for one scope."""
    walk = plan.settings["walkforward"]
    names = ("train_days", "test_days", "step_days", "min_train_samples", "mode", "embargo_sessions", "calibration",
             "intervals")  # fmt: skip
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
    check_apart(folder, plan)
    store.create()
    with locked(folder), full_disk_is_said(folder):
        if fresh:
            store.clear()
        check_same_plan(store, plan)
        with logged(folder / "log.txt"):
            return _walk(plan, store, jobs, progress, stop)


def _walk(plan: WalkPlan, store: RunFolder, jobs: int, progress: Progress, stop: threading.Event) -> WalkOutcome:
    for name in (_TOLD, "leaderboard.csv"):  # of older bars perhaps; without them a run that stops is half finished
        (store.path / name).unlink(missing_ok=True)
    more = {"scopes": plan.scopes, "settings": plan.settings, "history": plan.inputs.history}
    write_papers(store, plan, "walkforward", more)
    warn_of_baselines(plan.inputs)
    if plan.inputs.builder is not None:
        with progress.stage("label", len(plan.inputs.symbols)) as step:
            label_panel(plan.inputs.builder, store.tables, jobs=jobs, on_step=step, stopped=stop.is_set)
    walked, failed, interrupted, first = {}, {}, stop.is_set(), None
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
        walked[model, target, scope] = found
        if target in plan.targets:
            found.save(store.path / "results" / place)
    results = {walk: found for walk, found in walked.items() if walk[1] in plan.targets}
    for walk, found in ({} if interrupted else _gated(plan, walked, failed)).items():
        found.save(Path(store.path, "results", *walk))
        results[walk] = found
    if first is not None and not results and not interrupted:
        raise first
    board = complete(pd.DataFrame())
    if not interrupted:
        told = [_metrics(*walk, found) for walk, found in results.items()]
        told += [_metrics(*walk, None, reason) for walk, reason in failed.items()]
        store.write(_TOLD, "".join(f"{line}\n" for line in told))
        with progress.stage("report", 1) as step:
            board = _report(store, plan.inputs.history, results, failed)
            step("report.html")
    return WalkOutcome(store.path, results, failed, board, interrupted)


def _gated(plan: WalkPlan, walked: dict, failed: dict) -> dict[tuple[str, str, str], WalkForwardResults]:
    """The walks behind the gates of the same model and scope; where one of these failed, so do they."""
    settings, results = plan.settings["gates"], {}
    for (model, target, scope), found in walked.items():
        if target not in plan.gated():
            continue
        name, gates = f"{model} gated", [(model, gate, scope) for gate in settings["targets"]]
        if missing := [gate for gate in gates if gate not in walked]:
            failed[name, target, scope] = f"its gate {missing[0][1]} failed: {failed[missing[0]]}"
        else:
            results[name, target, scope] = gate_results(found, [walked[gate] for gate in gates], settings)
    return results


def is_finished(folder: Path) -> bool:
    """Whether a walk-forward's folder holds the results of all of its walks, and a report."""
    return (folder / _TOLD).exists()


def write_audited_report(folder: Path, audit: pd.DataFrame) -> None:
    """Write the report of a walk-forward's folder again, with the verdicts of an audit.

    Parameters
    ----------
    folder : Path
    audit : DataFrame
        ``check, verdict, reason``, a row per check.

    Raises
    ------
    ConfigError
        The run was not finished.
    IntegrityError
        One of its files is missing, truncated or edited.
    LockedError
        A run is using the folder.
    """
    store, results, failed = RunFolder(folder), {}, {}
    with locked(folder):
        manifest, _ = read_sealed(folder)
        if not is_finished(folder):
            raise ConfigError(f"{folder}: the run was not finished, so it has no report yet; run it again to go on")
        for line in map(json.loads, (folder / _TOLD).read_text().splitlines()):
            walk = line["model"], line["target"], line["scope"]
            if line["status"] == "done":
                results[walk] = WalkForwardResults.load(Path(folder, "results", *walk))
            else:
                failed[walk] = line["reason"]
        _report(store, manifest["history"], results, failed, audit)


def _metrics(model: str, target: str, scope: str, found: WalkForwardResults | None, reason: str = "") -> str:
    """A walk's line of metrics.jsonl."""
    line = {"model": model, "target": target, "scope": scope, "status": "failed" if found is None else "done"}
    line |= {"reason": reason} if found is None else {"metrics": json.loads(found.metrics.loc[model].to_json())}
    return json.dumps(line)


def _report(
    store: RunFolder, history: str, results: dict, failed: dict, audit: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Count the results as trials, write leaderboard and report, and return the former."""
    store = RunFolder(store.path.resolve())  # "." and a link to the folder are the same run, and have the same ledger
    ledger = ledger_of(store, history)
    ledger.add(_trial(store.path.name, *walk, found) for walk, found in results.items())
    summary = summarise(list(results.values()), ledger.count(), audit, ledger.sharpes())
    told = [f"{' '.join(walk)}: {reason}" for walk, reason in failed.items()]
    write_report(replace(summary, notes=[*summary.notes, *told]), store.path / "report.html")
    # What luck leaves of a result depends on what else was tried, so it is said in the report alone.
    store.write("leaderboard.csv", leaderboard_csv(summary.leaderboard.drop(columns=["dsr", "dsr_reason", "trials"])))
    return summary.leaderboard


def _trial(run: str, model: str, target: str, scope: str, found: WalkForwardResults) -> Trial:
    about = found.manifest
    walked = {name: value for name, value in about["settings"].items() if name != "intervals"}  # nobody trades them
    settings = {"config": about["config"], "walkforward": walked, "backtest": about["backtest"], "scope": scope}
    moments = return_moments(found.returns.loc[found.returns["model"] == about["model"], "net_return"].dropna())
    return Trial(run, model, target, digest(settings), digest(about["features"]),
                 sharpe=moments.sharpe, sessions=moments.periods)  # fmt: skip
