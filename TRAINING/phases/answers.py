"""What models tell beside predictions: stored with each unit, and put together over the symbols for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO

import numpy as np
import pandas as pd

from TRAINING.evaluation.metrics import MONEY_METRICS, PREDICTION_METRICS
from TRAINING.evaluation.quantile_metrics import pinball_loss
from TRAINING.model_fun.base import Trainer
from TRAINING.phases.plan import BASELINES
from TRAINING.phases.unit_result import UnitResult
from TRAINING.reports.reliability import pit_bins, quantile_bins

_OF_ROWS = ["timestamp", "session", "close"]  # of the test rows, in each table that has them
_PREFIX, _SUFFIX = "own_", ".parquet"
_BLOCK = 21  # sessions that are counted as one, at least: the volatility of neighbours is alike
_USUAL = {metric.name for metrics in (*PREDICTION_METRICS.values(), MONEY_METRICS) for metric in metrics}

Told = Sequence[tuple[UnitResult, pd.DataFrame]]


def answer_files(trainer: Trainer, X: pd.DataFrame, y: pd.Series, test: pd.DataFrame) -> dict[str, bytes]:
    """What a trained model tells of the rows of X, see `Trainer.own_frames`, as files of its unit.

    Parameters
    ----------
    trainer : Trainer
    X, y : DataFrame, Series
        The test rows, and before them those that the model looks back at.
    test : DataFrame
        ``timestamp, session, close`` of the test rows. Tables of rows are cut to them and get these columns.
    """
    files = {}
    for name, frame in trainer.own_frames(X, y).items():
        table = test.merge(frame, "inner", "timestamp") if "timestamp" in frame else frame
        buffer = BytesIO()
        table.to_parquet(buffer, index=False, write_page_checksum=True)
        files[f"{_PREFIX}{name}{_SUFFIX}"] = buffer.getvalue()
    return files


def read_answers(files: dict[str, bytes]) -> dict[str, pd.DataFrame]:
    """The tables among a unit's files, by name; none of a unit that an older version trained."""
    return {
        name.removeprefix(_PREFIX).removesuffix(_SUFFIX): pd.read_parquet(BytesIO(payload), use_threads=False)
        for name, payload in files.items()
        if name.startswith(_PREFIX)
    }


def collect_answers(done: Sequence[UnitResult], shown: Sequence[str]) -> dict[str, pd.DataFrame]:
    """What the models of finished units tell, over the symbols, as `TRAINING.reports.answers` draws it.

    Parameters
    ----------
    done : sequence of UnitResult
    shown : sequence of str
        Symbols that may be shown one by one, the first choice first.

    Returns
    -------
    dict of str to DataFrame
        By name, each with ``model`` and ``target``; see the functions below. ``scores``: see `_scores`.
    """
    told: dict[str, dict[tuple[str, str], list[tuple[UnitResult, pd.DataFrame]]]] = {}
    for result in done:
        for name, frame in result.answers.items():
            told.setdefault(name, {}).setdefault((result.unit.model, result.unit.target), []).append((result, frame))
    found = {}
    for name, collect in _COLLECTED.items():
        frames = [
            collect(units, shown).assign(model=model, target=target)
            for (model, target), units in sorted(told.get(name, {}).items())
        ]
        if frames := [frame for frame in frames if len(frame)]:
            found[name] = pd.concat(frames, ignore_index=True)
    scores = _scores(done)
    return found | ({"scores": scores} if len(scores) else {})


def _scores(done: Sequence[UnitResult]) -> pd.DataFrame:
    """``model, target, score``: the scores that only its kind has; ``median, low, high`` over so many ``symbols``."""
    rows = [
        (result.unit.model, result.unit.target, name, value)
        for result in done
        if result.unit.model != BASELINES
        for name, value in result.record["scores"][result.unit.model].items()
        if name not in _USUAL
    ]
    table = pd.DataFrame(rows, columns=["model", "target", "score", "value"])
    values = table.groupby(["model", "target", "score"], sort=False)["value"]
    return values.agg(median="median", low="min", high="max", symbols="size").reset_index()


def _transitions(units: Told, shown: Sequence[str]) -> pd.DataFrame:
    """``from, to, count`` of the symbols with the usual number of ``regimes``: ``symbols`` of ``of_symbols``."""
    numbers = np.array([frame["to"].max() + 1 for _, frame in units])
    regimes = int(np.bincount(numbers).argmax())
    kept = [frame for (_, frame), number in zip(units, numbers, strict=True) if number == regimes]
    table = pd.concat(kept).groupby(["from", "to"], as_index=False)["count"].sum()
    return table.assign(regimes=regimes, symbols=len(kept), of_symbols=len(units))


def _one_symbol(units: Told, shown: Sequence[str]) -> pd.DataFrame:
    """The rows of the first symbol to be shown; no row if none is."""
    frames = {result.unit.symbol: frame for result, frame in units}
    chosen = next((symbol for symbol in shown if symbol in frames), None)
    return pd.DataFrame() if chosen is None else frames[chosen].assign(symbol=chosen)


def _pit(units: Told, shown: Sequence[str]) -> pd.DataFrame:
    """See `pit_bins`, of the rows of all symbols."""
    table = pit_bins(pd.concat([frame for _, frame in units]), block=_block(units))
    return table[table["rows"] > 0]


def _quantiles(units: Told, shown: Sequence[str]) -> pd.DataFrame:
    """See `quantile_bins`, of the rows of all symbols, and the mean ``pinball`` loss of each level."""
    names = sorted(units[0][1].columns.difference(_OF_ROWS), key=float)
    rows = pd.concat([frame.assign(y=_labels(result, frame)) for result, frame in units]).dropna(subset="y")
    quantiles, levels = rows[names].to_numpy(float), np.array(names, dtype=float)
    if rows.empty:
        return pd.DataFrame()
    table = quantile_bins(rows[["session", "y"]], quantiles, levels, block=_block(units))
    return table.assign(pinball=pinball_loss(rows["y"], quantiles, levels).mean(axis=0))


def _labels(result: UnitResult, frame: pd.DataFrame) -> np.ndarray:
    rows = result.predictions.select(["timestamp", "y"]).to_pandas()
    return frame[["timestamp"]].merge(rows, "left", "timestamp")["y"].to_numpy(float)


def _weights(units: Told, shown: Sequence[str]) -> pd.DataFrame:
    """``part``, and the ``median, low, high`` of its weight over so many ``symbols``."""
    weights = pd.concat([frame for _, frame in units]).groupby("part", sort=False)["weight"]
    return weights.agg(median="median", low="min", high="max", symbols="size").reset_index()


def _shap(units: Told, shown: Sequence[str]) -> pd.DataFrame:
    """``feature``, its means of ``mean_abs`` (0 where it is not used) and of ``direction``, and the ``unit``."""
    features = pd.concat([frame for _, frame in units]).groupby("feature")
    table = pd.DataFrame({"mean_abs": features["mean_abs"].sum(), "direction": features["direction"].mean()})
    table["mean_abs"] /= len(units)
    unit = "log-odds" if units[0][0].record["task"] == "binary" else "value"
    return table.reset_index().assign(unit=unit, symbols=len(units))


def _block(units: Told) -> int:
    return max(_BLOCK, *(result.record["horizon"] for result, _ in units))


_COLLECTED: dict[str, Callable[[Told, Sequence[str]], pd.DataFrame]] = {
    "regimes": _one_symbol,
    "transitions": _transitions,
    "changes": _one_symbol,
    "pit": _pit,
    "quantiles": _quantiles,
    "weights": _weights,
    "shap": _shap,
}
