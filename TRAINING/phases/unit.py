"""Train, test and store one batch of units. An error stops its own unit; what was finished is on the disk."""

from __future__ import annotations

import json
import logging
import time
from io import BytesIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from CONFIG.errors import BarzooError
from DATA_PROCESSING.labels import label_of, task_of
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.artifacts import pack
from TRAINING.evaluation.backtest import backtest, signals
from TRAINING.evaluation.baselines import BUY_AND_HOLD, baseline_predictions
from TRAINING.evaluation.metrics import score_money, score_predictions
from TRAINING.model_fun.base import find_task
from TRAINING.model_fun.context import predict_with_context, with_context
from TRAINING.model_fun.registry import predictor_class, predicts_position, signal_rule
from TRAINING.phases.answers import answer_files, read_answers
from TRAINING.phases.card import model_card
from TRAINING.phases.plan import BASELINES, Plan, Unit, learns_together
from TRAINING.phases.unit_result import UnitResult
from TRAINING.phases.windows import UnitData, join_targets, make_windows
from TRAINING.runs.manifest import environment
from TRAINING.runs.store import RunFolder, training_folder, write_sealed
from TRAINING.strategies import SingleTaskStrategy

log = logging.getLogger("barzoo")
_PREDICTIONS = "predictions.parquet"
_HISTORY = "history.json"
_CARD = "card.md"


def run_batch(batch: list[Unit], plan: Plan, folder: RunFolder) -> list[UnitResult]:
    """Find finished units of a batch on the disk, train and store the others."""
    results, todo = [], []
    for unit in batch:
        found = folder.finished_unit(folder.unit(unit.model, unit.target, unit.symbol), unit.identity)
        if found is None:
            todo.append(unit)
        else:
            results.append(_from_files(unit, *found))
    if todo:
        # Models that train together round as before only in the same company, so all of the batch is trained again.
        results += _train(batch, todo, plan, folder)
    return results


def _from_files(unit: Unit, record: dict, files: dict[str, bytes]) -> UnitResult:
    predictions = pq.read_table(BytesIO(files[_PREDICTIONS]), use_threads=False)
    history = json.loads(files[_HISTORY]) if _HISTORY in files else {}
    return UnitResult(unit, "done", "", record, predictions, history, read_answers(files), resumed=True)


def _train(batch: list[Unit], todo: list[Unit], plan: Plan, folder: RunFolder) -> list[UnitResult]:
    """Train a batch, and test and store its units ``todo``."""
    started = time.perf_counter()
    results, ready = [], []
    for unit in batch:
        try:
            windows = make_windows(unit, plan, plan.inputs.table(unit.symbol, folder.tables))
            if unit.model != BASELINES:
                find_task(unit.target, windows.train.y.to_numpy(float), plan.models[unit.model]["task"])
            ready.append((unit, windows))
        except BarzooError as error:
            results.append(UnitResult(unit, "failed", str(error)))
    model, target = batch[0].model, batch[0].target
    try:
        if model == BASELINES:
            outcomes = {unit: _baselines(windows, plan, unit) for unit, windows in ready}
        else:
            strategy = SingleTaskStrategy(model, plan.models[model])
            context_rows = predictor_class(model)(plan.models[model]).context_rows
            together = _together(ready)
            datasets = [
                join_targets(windows) if len(windows) > 1 else windows[0].to_train(context_rows)
                for windows in ([windows for _, windows in company] for company in together)
            ]
            first = ready[0][0] if ready else batch[0]
            checkpoints = training_folder(folder.unit(model, target, first.symbol), first.identity)
            trained = strategy.train_many(datasets, checkpoints)
            outcomes = {
                unit: _outcome(trainer, windows, plan, unit)
                for trainer, company in zip(trained, together, strict=True)
                for unit, windows in company
                if unit in todo
            }
    except BarzooError as error:
        return results + [UnitResult(unit, "failed", str(error)) for unit, _ in ready if unit in todo]
    except Exception as error:  # whatever a library raises stops these units only, and is shown
        log.error("%s %s %s", model, target, [unit.symbol for unit, _ in ready], exc_info=error)
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return results + [UnitResult(unit, "failed", reason) for unit, _ in ready if unit in todo]
    seconds = (time.perf_counter() - started) / len(batch)
    for unit, windows in ready:
        if unit not in outcomes:
            continue
        outcome = outcomes[unit]
        if isinstance(outcome, BarzooError):
            results.append(UnitResult(unit, "failed", str(outcome)))
            continue
        record, predictions, files = outcome
        sizes = {f"{part}_rows": len(getattr(windows, part)) for part in ("train", "validation", "test")}
        about = plan.inputs.symbols[unit.symbol]
        record |= {
            "identity": unit.identity,
            "symbol": unit.symbol,
            "horizon": windows.horizon,
            "table": about.fingerprint,
            "windows": plan.windows,
            "backtest": plan.settings["backtest"],
            "environment": environment(),
            "seconds": round(seconds, 3),
            **sizes,
        }
        files[_PREDICTIONS] = _parquet(predictions)
        if unit.model != BASELINES:
            files[_CARD] = model_card(record, plan.inputs.source).encode()
        write_sealed(folder.unit(unit.model, unit.target, unit.symbol), record, files)
        history = json.loads(files[_HISTORY]) if _HISTORY in files else {}
        results.append(UnitResult(unit, "done", "", record, predictions, history, read_answers(files)))
    return results


def _together(ready: list[tuple[Unit, UnitData]]) -> list[list[tuple[Unit, UnitData]]]:
    """The units that one model is trained for: the targets of a symbol, where the model takes several."""
    companies: dict[tuple[str, str], list[tuple[Unit, UnitData]]] = {}
    for unit, windows in ready:
        alone = "" if learns_together(unit.model) else unit.target
        companies.setdefault((unit.symbol, alone), []).append((unit, windows))
    return list(companies.values())


def _outcome(
    trainer, windows: UnitData, plan: Plan, unit: Unit
) -> tuple[dict, pa.Table, dict[str, bytes]] | BarzooError:
    """What `_model` gives, or the error that stopped this unit."""
    if isinstance(trainer, BarzooError):
        return trainer
    try:
        return _model(trainer, windows, plan, unit)
    except BarzooError as error:
        return error


def _model(trainer, windows: UnitData, plan: Plan, unit: Unit) -> tuple[dict, pa.Table, dict[str, bytes]]:
    if trainer.target != unit.target:
        trainer = trainer.of_target(unit.target)
    prediction = predict_with_context(trainer, windows.data.X, windows.places.test)
    description, files = pack(trainer)
    predictions, scores, reasons = _evaluate(unit, windows, trainer.task, trainer.name, prediction, plan)
    later = with_context(windows.test, windows.data, windows.places.test, trainer.context_rows)
    importance = trainer.get_feature_importance()
    record = {
        **description,
        "threshold": _threshold(trainer.task, windows),
        "rounds": trainer.rounds,
        "notes": trainer.notes,
        "scores": {trainer.name: trainer.own_scores(later.X, later.y, later.rows) | scores},
        "reasons": {trainer.name: reasons},
        "importance": {} if importance.isna().any() else importance.to_dict(),
    }
    test = {"timestamp": windows.test.X.index.get_level_values("timestamp")}
    test |= {"session": windows.test.sessions, "close": windows.close}
    return record, predictions, files | answer_files(trainer, later.X, later.y, pd.DataFrame(test))


def _baselines(windows: UnitData, plan: Plan, unit: Unit) -> tuple[dict, pa.Table, dict[str, bytes]]:
    task = task_of(unit.target, windows.train.y.to_numpy())
    train, test = windows.train, windows.test
    named, missing = baseline_predictions(task, train.X, train.y, test.X)
    named = {**named, BUY_AND_HOLD: None}
    evaluated = {name: _evaluate(unit, windows, task, name, values, plan) for name, values in named.items()}
    record = {
        "model": BASELINES,
        "target": unit.target,
        "task": task,
        "scores": {name: scores for name, (_, scores, _) in evaluated.items()},
        "reasons": {name: reasons for name, (_, _, reasons) in evaluated.items()},
        "notes": [f"{name}: {reason}" for name, reason in missing.items()],
    }
    return record, pa.concat_tables([rows for rows, _, _ in evaluated.values()]), {}


def _threshold(task: str, windows: UnitData) -> float:
    """A classifier trades where it sees a higher probability than the (weighted) training rows' base rate."""
    if task != "binary":
        return 0.0
    return float(np.average(windows.train.y.to_numpy(float), weights=windows.train.rows.sample_weight))


def _evaluate(
    unit: Unit, windows: UnitData, task: str, name: str, prediction: np.ndarray | None, plan: Plan
) -> tuple[pa.Table, dict, dict]:
    """Test predictions (``None``: buy and hold) as rows, scores and the reasons of undefined scores."""
    about = plan.inputs.symbols[unit.symbol]
    y = windows.test.y.to_numpy(float)
    n = len(y)
    timestamps = pa.array(windows.test.X.index.get_level_values("timestamp"))
    settings = plan.settings["backtest"]
    scores, reasons = {}, {}
    if prediction is None:
        signal, horizon = np.ones(n), 1
    else:
        scored = score_predictions(task, y, prediction, is_position=predicts_position(name))
        scores, reasons = dict(scored.values), dict(scored.reasons)
        label = label_of(unit.target)
        limits = {name: settings[name] for name in ("upper", "lower")}
        limits |= {"threshold": _threshold(task, windows)}
        signal = signals(signal_rule(name, settings["rule"]), prediction, label and label.money_rule, **limits)
        horizon = windows.horizon
    money = dict.fromkeys(("position", "position_change", "asset_return", "net_return"), np.full(n, np.nan))
    if signal is not None:
        result = backtest(windows.close, signal, horizon, settings["execution_lag"], settings["cost_bps"])
        money = {column: getattr(result, column) for column in money}
        scored = score_money(
            result.net_return,
            result.position,
            result.asset_return,
            sessions_per_year(np.unique(about.sessions)) * n / len(np.unique(windows.test.sessions)),
            result.position_change,
        )
        scores, reasons = scores | scored.values, reasons | scored.reasons
    else:
        reasons["sharpe"] = f"{unit.target} has no money rule"
    rows = {
        "name": pa.array([name] * n, pa.string()),
        "timestamp": timestamps,
        "session": pa.array(windows.test.sessions),
        "y": y,
        "prediction": np.full(n, np.nan) if prediction is None else prediction,
        **money,
    }
    return pa.table(rows), {key: float(value) for key, value in scores.items() if np.isfinite(value)}, reasons


def _parquet(rows: pa.Table) -> bytes:
    buffer = BytesIO()
    pq.write_table(rows, buffer, write_page_checksum=True)
    return buffer.getvalue()
