"""What a walk-forward found: its folds, the stitched predictions, their money, and metrics beside the baselines'."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, did_you_mean
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.conformal import INTERVAL_METRICS
from TRAINING.evaluation.metrics import MONEY_METRICS, PREDICTION_METRICS
from TRAINING.evaluation.portfolio import portfolio
from TRAINING.model_fun.registry import predicts_position
from TRAINING.runs.manifest import digest, environment, read_sealed
from TRAINING.runs.store import write_sealed
from TRAINING.walkforward.fold import RECORD
from TRAINING.walkforward.trading import Trading
from TRAINING.walkforward.uncertainty import add_intervals, calibrate_outcomes, interval_scores

if TYPE_CHECKING:
    from TRAINING.evaluation.folds import Fold
    from TRAINING.walkforward.fold import Outcome

_WINDOWS = ("train_start", "train_end", "test_start", "test_end")
_FRAMES = ("folds", "predictions", "returns", "importance")
_SCORES = PREDICTION_METRICS | {"regression": (*PREDICTION_METRICS["regression"], *INTERVAL_METRICS)}


@dataclass(frozen=True, eq=False)
class WalkForwardResults:
    """The results of one model on one target; docs/07_WALK_FORWARD.md describes every column.

    Attributes
    ----------
    folds : DataFrame
        A row per fold (and symbol, with a model per symbol): windows, sizes, status, and metrics of the whole test
        window for the model.
    predictions : DataFrame
        A row per model (its baselines too) and bar of the stitched test windows.
    returns : DataFrame
        Per model and session, the equal-weight portfolio.
    metrics : DataFrame
        The metrics asked for, a row per model and baseline, the model first; NaN where undefined.
    importance : DataFrame
        ``fold, symbol, feature, importance``.
    manifest : dict
        What it was made from and with; ``reasons`` says why a metric is undefined, ``notes`` which folds are not
        calibrated, and ``gates`` what each gate did.
    """

    folds: pd.DataFrame
    predictions: pd.DataFrame
    returns: pd.DataFrame
    metrics: pd.DataFrame
    importance: pd.DataFrame
    manifest: dict

    def save(self, folder: str | Path) -> Path:
        """Write a sealed folder: four Parquet files, ``metrics.json`` and ``manifest.json``.

        Raises
        ------
        ConfigError
            Something else is there already.
        """
        folder = Path(folder)
        if folder.exists() and not (folder / "metrics.json").exists():
            raise ConfigError(f"{folder}: exists, and holds no walk-forward; choose another folder")
        files = {f"{name}.parquet": _parquet(getattr(self, name)) for name in _FRAMES}
        table = {name: {k: _number(v) for k, v in row.items()} for name, row in self.metrics.T.to_dict().items()}
        files["metrics.json"] = json.dumps(table, indent=1).encode()
        write_sealed(folder, self.manifest, files)
        return folder

    def report(self, path: str | Path) -> Path:
        """Write a page on these results, the same as Markdown beside it, and a folder of its tables.

        Parameters
        ----------
        path : str or Path
            An ``.html`` file, or a folder for ``report.html``. To see several results side by side, give them to
            `TRAINING.walkforward.summary.summarise`.

        Raises
        ------
        ConfigError
            It cannot be written there.
        """
        from TRAINING.reports.walkforward import write_report
        from TRAINING.walkforward.summary import summarise  # which imports this module

        return write_report(summarise([self]), path)

    @classmethod
    def load(cls, folder: str | Path) -> WalkForwardResults:
        """Read what `save` wrote.

        Raises
        ------
        IntegrityError
            A file is missing, truncated or edited.
        """
        manifest, files = read_sealed(Path(folder))
        manifest.pop("files")
        metrics = pd.DataFrame(json.loads(files["metrics.json"])).T.astype(float)
        frames = {name: pd.read_parquet(BytesIO(files[f"{name}.parquet"])) for name in _FRAMES}
        return cls(metrics=metrics, manifest=manifest, **frames)


def check_metrics(metrics: Sequence[str], task: str) -> list[str]:
    """The metrics asked for, each known and of this task.

    Raises
    ------
    ConfigError
        One that is not.
    """
    known = [row.name for row in (*_SCORES[task], *MONEY_METRICS)]
    if isinstance(metrics, str):
        raise ConfigError(f"metrics: expected a list of names, got {metrics!r}; write [{metrics!r}]")
    for name in metrics:
        if name not in known:
            other = next((task for task, rows in _SCORES.items() if name in {r.name for r in rows}), None)
            cure = f"; it is one of {other} targets" if other else did_you_mean(str(name), known)
            raise ConfigError(f"metrics: no metric {name!r} of a {task} target{cure}")
    return list(dict.fromkeys(metrics))


def collect(trading: Trading, metrics: list[str], outcomes: list[tuple[Fold, str, Outcome]]) -> WalkForwardResults:
    """Stitch the folds' predictions, trade them, and score both."""
    panel, work = trading.panel, trading.work
    stitched, notes = _stitch(trading, outcomes), []
    if work.task == "binary" and work.settings["calibration"] != "none":
        outcomes, notes = calibrate_outcomes(trading, outcomes, stitched)
        stitched = _stitch(trading, outcomes)
    bars = {name: trading.bars(name, rows, prediction, threshold)
            for name, (rows, prediction, threshold, _) in stitched.items()}  # fmt: skip
    predictions = pd.concat([trading.frame(own, stitched[name][3]) for name, own in bars.items()], ignore_index=True)
    tested = np.unique(predictions["session"].to_numpy("datetime64[D]"))
    scored = {name: trading.scores(own, sessions_per_year(tested)) for name, own in bars.items()}
    if work.task == "regression":
        coverage = 0 if predicts_position(work.model_name) else work.settings["intervals"]
        if coverage:
            predictions = add_intervals(predictions, work.model_name, coverage)
        for name, (values, reasons) in interval_scores(predictions, work.model_name, coverage, scored).items():
            scored[name] = scored[name][0] | values, scored[name][1] | reasons
    manifest = {
        "model": work.model_name,
        "config": work.config,
        "target": trading.target,
        "task": work.task,
        "horizon": trading.horizon,
        "settings": work.settings,
        "backtest": trading.settings,
        "features": list(work.data.X.columns),
        "symbols": panel.symbols,
        "sessions": [str(panel.sessions[0]), str(panel.sessions[-1])],
        "untested_sessions": int((panel.sessions > tested[-1]).sum()),
        "data": digest([item.hex() for item in panel.session_digests]),
        "environment": environment(),
        "reasons": {
            name: {k: why for k, why in reasons.items() if k in metrics} for name, (_, reasons) in scored.items()
        },
        "notes": notes,
    }
    return WalkForwardResults(
        folds=_folds(trading, outcomes),
        predictions=predictions,
        returns=portfolio(predictions, ("model",)),
        metrics=pd.DataFrame(
            {name: [values.get(metric, np.nan) for metric in metrics] for name, (values, _) in scored.items()}, metrics
        ).T,
        importance=_importance(outcomes),
        manifest=manifest,
    )


def _stitch(
    trading: Trading, outcomes: list[tuple[Fold, str, Outcome]]
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Per name the rows, predictions, thresholds and folds of each fold's first sessions, in the panel's order."""
    session, parts = trading.work.session, {}
    for fold, _, outcome in outcomes:
        count = np.searchsorted(trading.panel.sessions, fold.stitched_end, side="right")
        kept = session[outcome.rows] < count
        for name, prediction in outcome.predictions.items():
            size = np.count_nonzero(kept)
            threshold, number = np.full(size, outcome.thresholds[name]), np.full(size, fold.number)
            parts.setdefault(name, []).append((outcome.rows[kept], prediction[kept], threshold, number))
    stitched = {}
    for name, pieces in parts.items():
        columns = [np.concatenate(column) for column in zip(*pieces, strict=True)]
        order = np.argsort(columns[0], kind="stable")  # with a model per symbol, they come symbol by symbol
        stitched[name] = tuple(column[order] for column in columns)
    return stitched


def _folds(trading: Trading, outcomes: list[tuple[Fold, str, Outcome]]) -> pd.DataFrame:
    name, rows = trading.work.model_name, []
    for fold, symbol, outcome in outcomes:
        windows = {key: getattr(fold, key) for key in _WINDOWS}
        row = {"fold": fold.number, "symbol": symbol, **windows, **{key: outcome.record[key] for key in RECORD}}
        if len(outcome.rows):
            row |= trading.scores(
                trading.bars(name, outcome.rows, outcome.predictions[name], outcome.thresholds[name])
            )[0]
        rows.append(row)
    return pd.DataFrame(rows).astype(dict.fromkeys(_WINDOWS, "datetime64[ns]"))


def _importance(outcomes: list[tuple[Fold, str, Outcome]]) -> pd.DataFrame:
    rows = [
        (fold.number, symbol, feature, importance)
        for fold, symbol, outcome in outcomes
        for feature, importance in outcome.importance.items()
    ]
    return pd.DataFrame(rows, columns=["fold", "symbol", "feature", "importance"]).sort_values(
        ["fold", "symbol", "importance", "feature"], ascending=[True, True, False, True], ignore_index=True
    )


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()
