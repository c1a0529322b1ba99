"""Predictions for the newest bars, by the models of a finished run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import BarzooError, DataError, IntegrityError
from DATA_PROCESSING.columns import feature_columns
from DATA_PROCESSING.labeled import TableBuilder, labeled_files, read_info, read_table
from DATA_PROCESSING.labels import label_of
from DATA_PROCESSING.sessions import Clock, panel_sessions, row_sessions
from DATA_PROCESSING.sources import read_panel
from DATA_PROCESSING.sources.storage import safe_name
from DATA_PROCESSING.symbols import symbol_of
from TRAINING.artifacts import unpack
from TRAINING.evaluation.backtest import hold, signals
from TRAINING.model_fun.registry import signal_rule
from TRAINING.phases.inputs import difference
from TRAINING.phases.plan import BASELINES
from TRAINING.runs.manifest import NAME, read_sealed

log = logging.getLogger("barzoo")
_MADE_WITH = ("bars", "features", "labels", "own_features")  # the settings behind the tables that a run learnt from


@dataclass(frozen=True)
class Newest:
    """Predictions for each symbol's last bar.

    Attributes
    ----------
    rows : DataFrame
        ``model, target, symbol, timestamp, prediction, signal, position, warning``: the position (-1 to 1) is the mean
        of the signals of the label's last H bars, to be held once ``execution_lag`` bars have passed.
    problems : DataFrame
        ``model, target, symbol, reason`` of what could not be predicted.
    """

    rows: pd.DataFrame
    problems: pd.DataFrame


def predict_newest(run: Path, source: str, models: list[str] | None = None, target: str | None = None) -> Newest:
    """Predict the newest bars of a SOURCE with every model of a run.

    Parameters
    ----------
    run : Path
        A run folder.
    source : str
        Bars (or labeled tables) with enough history for the features.
    models, target : optional
        Only these.

    Raises
    ------
    IntegrityError
        The run folder is damaged, or holds no model.
    DataError
        Nothing usable in the source, or none of its symbols was trained.
    """
    manifest, _ = read_sealed(run)
    folders = sorted(
        path.parent
        for path in run.glob(f"units/*/*/*/{NAME}")
        if path.parts[-4] != BASELINES and not path.parent.name.startswith(".")
    )
    if not folders:
        raise IntegrityError(f"{run}: holds no trained model; run the phase to its end first")
    settings = manifest["settings"]
    tables = _read(run, source, {key: settings[key] for key in _MADE_WITH if key in settings})
    stale_sessions = settings.get("bars", load_run_config("bars"))["stale_sessions"]
    rows, problems, first_error = [], [], None
    for folder in folders:
        about = dict(zip(("model", "target", "symbol"), map(symbol_of, folder.parts[-3:]), strict=True))
        if (models and about["model"] not in models) or (target and about["target"] != target):
            continue
        if about["symbol"] not in tables:
            problems.append({**about, "reason": f"{safe_name(source)} has no usable bars of it"})
            continue
        try:
            record, files = read_sealed(folder)
            if any(record.get(key) != name for key, name in about.items()):
                raise IntegrityError(f"{folder}: holds another unit, {record.get('symbol')!r}; train this unit again")
            trainer = unpack(record, files, str(folder))
            X, timestamps, age = tables[about["symbol"]]
            if len(X) <= trainer.context_rows:
                raise DataError(
                    f"{safe_name(source)} has {len(X)} bars of it, {about['model']} looks at {trainer.context_rows + 1}"
                )
            read = slice(-record["horizon"] - trainer.context_rows, None)
            last = X.iloc[read].set_axis(pd.DatetimeIndex(timestamps.iloc[read]))
            score = trainer.predict_score(last)[-record["horizon"] :]
        except BarzooError as error:
            first_error = first_error or error
            problems.append({**about, "reason": str(error)})
            continue
        rows.append(
            {
                **about,
                "timestamp": timestamps.iloc[-1],
                "prediction": float(score[-1]),
                **_position(about["model"], about["target"], score, record),
                "warning": f"stale: its last bar is {age} sessions old" if age > stale_sessions else "",
            }
        )
    if not rows and problems:
        raise (type(first_error) if first_error else DataError)(
            f"{run}: no prediction; {problems[0]['symbol']}: {problems[0]['reason']}"
        )
    columns = ["model", "target", "symbol", "timestamp", "prediction", "signal", "position", "warning"]
    frame = pd.DataFrame(rows, columns=columns).sort_values(["target", "symbol", "model"], ignore_index=True)
    return Newest(frame, pd.DataFrame(problems, columns=["model", "target", "symbol", "reason"]))


def _position(model: str, target: str, score: np.ndarray, record: dict) -> dict[str, float]:
    """The newest signal, and the position that the last H signals imply; NaN for a target without a money rule."""
    label = label_of(target)
    settings = record["backtest"]
    limits = {name: settings[name] for name in ("upper", "lower")}
    rule = signal_rule(model, settings["rule"])
    signal = signals(rule, score, label and label.money_rule, threshold=record["threshold"], **limits)
    if signal is None:
        return {"signal": np.nan, "position": np.nan}
    return {"signal": float(signal[-1]), "position": float(hold(signal, record["horizon"])[-1])}


def _read(run: Path, source: str, settings: dict) -> dict[str, tuple[pd.DataFrame, pd.Series, int]]:
    """Features and timestamps per symbol, and how many sessions old its last bar is.

    They must be made as those were that the run learnt from.
    """
    tables, traded = {}, {}
    for path in labeled_files(Path(source)) if source != "demo" else []:
        try:
            table = read_table(path)
            info = read_info(path, default_horizon=1)
        except BarzooError as error:
            log.warning("%s", error)
            continue
        symbol, unlike = info.symbol, difference(settings, info.settings)
        if unlike:
            raise DataError(f"{path}: made with other settings than the tables that {run} learnt from ({unlike})")
        tables[symbol] = (table[feature_columns(table.columns)], table["timestamp"])
        traded[symbol] = row_sessions(table)
    if tables:
        sessions, clocks = panel_sessions(traded.values()), dict.fromkeys(tables, Clock())
    elif not settings:
        raise DataError(
            f"{run}: learnt from tables that were not built here, so nobody knows how to make theirs from bars; "
            "give such tables with rows up to now as --bars"
        )
    else:
        panel = read_panel(source, settings["bars"])
        sessions, clocks = panel.sessions, panel.clocks
        builder = TableBuilder(panel, settings["features"], settings["labels"])
        own, trained_on = builder.features.own, settings.get("own_features")
        if own and trained_on and own.sha256 != trained_on:
            raise IntegrityError(f"{own.path}: has changed since the run was trained; predict with the file of then")
        for symbol in panel.symbols:
            tables[symbol] = builder.newest(symbol)
            traded[symbol] = panel.row_sessions(symbol)
    return {symbol: (*table, clocks[symbol].age(traded[symbol], sessions)) for symbol, table in tables.items()}
