"""A walk-forward whose positions pass through gates: classifiers of other targets that were walked through the panel.

Nothing is trained. The predictions stay as they are; signals are gated, and traded anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.backtest import backtest
from TRAINING.evaluation.metrics import MONEY_METRICS, Scores, score_money
from TRAINING.evaluation.portfolio import portfolio
from TRAINING.strategies.gates import Gate, apply_gates, gate_report, side_of
from TRAINING.walkforward.results import WalkForwardResults

_KEY = ["symbol", "timestamp"]
_MONEY = [metric.name for metric in MONEY_METRICS]


def gate_results(
    results: WalkForwardResults, gates: Sequence[WalkForwardResults], settings: dict
) -> WalkForwardResults:
    """Pass the signals of a model through gates.

    Parameters
    ----------
    results : WalkForwardResults
        Of a target that is traded.
    gates : sequence of WalkForwardResults
        Of binary targets, walked with the same windows through the same panel. A row that a gate did not predict gets
        no position of the gate's side.
    settings : dict
        The run config ``gates``: ``rule``, and the ``threshold``, where 0 stands for the share of the class in the
        training rows, which is what ``base_rate`` predicts.

    Returns
    -------
    WalkForwardResults
        The model is called ``<model> gated``; its baselines are those of ``results``. ``folds`` has the money of each
        fold's stitched rows; ``importance`` is empty, as nothing was trained. ``manifest["gates"]`` has the rows of
        `TRAINING.strategies.gates.gate_report`: what each gate did to the signals, and what these would have earned
        on average over the bars that they are held, before costs.

    Raises
    ------
    ConfigError
        There is no gate, one is a regression, or there are no positions to gate.
    DataError
        Results of different panels or windows.
    """
    about, model = results.manifest, results.manifest["model"]
    _check(results, gates)
    name, predictions = f"{model} gated", results.predictions
    rows, others = predictions[predictions["model"] == model], predictions[predictions["model"] != model]
    made = [_gate(rows, gate, settings) for gate in gates]
    report = gate_report(rows["signal"], _earned(rows, about), made)
    gated = rows.assign(model=name, signal=apply_gates(rows["signal"], made))
    gated = _active(_traded(gated, about))
    predictions = pd.concat([gated, others], ignore_index=True)
    returns = portfolio(predictions)
    a_year = sessions_per_year(np.unique(predictions["session"].to_numpy("datetime64[D]")))
    scored = _scored(gated, a_year)
    metrics = results.metrics.rename(index={model: name})
    asked = [metric for metric in _MONEY if metric in metrics]
    metrics.loc[name, asked] = [scored.values[metric] for metric in asked]
    reasons = {metric: why for metric, why in about["reasons"][model].items() if metric not in _MONEY}
    reasons |= {metric: why for metric, why in scored.reasons.items() if metric in asked}
    manifest = about | {
        "model": name,
        "settings": about["settings"] | {"gates": settings | {"targets": [gate.name for gate in made]}},
        "reasons": {name: reasons} | {other: why for other, why in about["reasons"].items() if other != model},
        "gates": report.astype(object).where(report.notna(), None).to_dict("records"),
    }
    folds = _folds(results.folds, gated, about, a_year)
    return WalkForwardResults(folds, predictions, returns, metrics, results.importance.iloc[:0], manifest)


def _check(results: WalkForwardResults, gates: Sequence[WalkForwardResults]) -> None:
    about = results.manifest
    if not gates:
        raise ConfigError("gates: there is none; name binary targets, such as y_will_peak")
    rows = results.predictions[results.predictions["model"] == about["model"]]
    if rows["signal"].isna().all():
        raise ConfigError(f"gates: {about['target']} is not traded, so there is no position to gate")
    for gate in (gate.manifest for gate in gates):
        if gate["task"] != "binary":
            raise ConfigError(
                f"gates: {gate['target']} is a {gate['task']}, and a gate needs a probability; name a binary target"
            )
        windows = ("train_days", "test_days", "step_days", "mode")
        unlike = "data" if gate["data"] != about["data"] else ""
        unlike = unlike or next((k for k in windows if gate["settings"][k] != about["settings"][k]), "")
        if unlike:
            raise DataError(
                f"gates: {gate['target']} and {about['target']} differ in {unlike}; walk both through the same panel "
                "with the same windows"
            )


def _gate(rows: pd.DataFrame, gate: WalkForwardResults, settings: dict) -> Gate:
    """What a classifier's walk says of the rows."""
    keys, target = pd.MultiIndex.from_frame(rows[_KEY]), gate.manifest["target"]

    def predicted(name: str) -> np.ndarray:
        own = gate.predictions[gate.predictions["model"] == name]
        return own.set_index(_KEY)["prediction"].reindex(keys).to_numpy()

    probability, threshold = predicted(gate.manifest["model"]), settings["threshold"]
    if not threshold:
        threshold = np.where(np.isnan(probability), 0.5, predicted("base_rate"))  # any will do without a probability
    return Gate(target, probability, settings["rule"], threshold, side_of(target))


def _traded(rows: pd.DataFrame, about: dict) -> pd.DataFrame:
    """Rows with the positions that their signals take, per symbol, and what these earn."""
    lag, cost = about["backtest"]["execution_lag"], about["backtest"]["cost_bps"]
    parts = []
    for _, own in rows.groupby("symbol", sort=False):
        found = backtest(own["close"], own["signal"], about["horizon"], lag, cost)
        # Bars without a position are left out of the rows, so closes are no returns; there is no position after these.
        net = found.position * own["asset_return"] - found.cost
        parts.append(own.assign(position=found.position, position_change=found.position_change, net_return=net))
    return pd.concat(parts)


def _active(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with a prediction, or a position that runs out."""
    return rows[(rows["fold"] >= 0) | (rows["position"] != 0) | (rows["position_change"] > 0)]


def _earned(rows: pd.DataFrame, about: dict) -> np.ndarray:
    """(n,) the mean return of the bars over which a row's signal is held; NaN where they are not all there yet."""
    lag, held = about["backtest"]["execution_lag"], about["horizon"]
    earned = rows.groupby("symbol", sort=False)["asset_return"].transform(
        lambda own: own.rolling(held).mean().shift(-lag - held)
    )
    return earned.to_numpy()


def _scored(rows: pd.DataFrame, a_year: float) -> Scores:
    net = portfolio(rows)["net_return"]
    return score_money(net, rows["position"], rows["asset_return"], a_year, rows["position_change"])


def _folds(folds: pd.DataFrame, rows: pd.DataFrame, about: dict, a_year: float) -> pd.DataFrame:
    """``folds`` with the money of each fold's stitched sessions, traded by themselves."""
    folds, kept = folds.copy(), [metric for metric in _MONEY if metric in folds]
    for place, fold, symbol in zip(folds.index, folds["fold"], folds["symbol"], strict=True):
        own = rows if about["settings"]["scope"] == "pooled" else rows[rows["symbol"] == symbol]
        sessions = own.loc[own["fold"] == fold, "session"]
        if len(sessions):
            own = _active(_traded(own[own["session"].between(sessions.min(), sessions.max())], about))
            folds.loc[place, kept] = pd.Series(_scored(own, a_year).values)[kept]
    return folds
