"""From finished units to frames: leaderboard, portfolios, and what the report shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from DATA_PROCESSING.sessions import panel_sessions, sessions_per_year
from TRAINING.evaluation.metrics import SCORES, row_loss
from TRAINING.evaluation.portfolio import by_session, portfolio, score_portfolio
from TRAINING.evaluation.significance import beats, bootstrap_interval, default_block
from TRAINING.model_fun.registry import predicts_position
from TRAINING.phases.answers import collect_answers
from TRAINING.phases.plan import BASELINES, Plan
from TRAINING.phases.unit_result import UnitResult
from TRAINING.reports.leaderboard import rank

_MONEY = ("position", "position_change", "asset_return")


@dataclass(frozen=True)
class Results:
    """Everything a run found, as frames; the columns are those that `TRAINING.reports.html.render_report` takes."""

    leaderboard: pd.DataFrame
    units: pd.DataFrame
    returns: pd.DataFrame
    symbol_returns: pd.DataFrame
    importance: pd.DataFrame
    curves: pd.DataFrame
    calibration: pd.DataFrame
    answers: dict[str, pd.DataFrame]


def collect(plan: Plan, results: list[UnitResult]) -> Results:
    """Put the results of all units together; their order does not matter."""
    results = sorted(results, key=lambda result: (result.unit.symbol, result.unit.target, result.unit.model))
    units = _units(plan, results)
    done = [result for result in results if result.status == "done"]
    rows = _test_rows(done)
    sessions = _by_session(rows)
    leaderboard = _leaderboard(plan, done, rows, sessions)
    detail = _detail(plan, leaderboard, units, rows)
    one_by_one = plan.settings["phases"]["detail_symbols"] > 0
    shown = [*detail["symbol"].unique(), *sorted(plan.inputs.symbols)] if one_by_one else []
    return Results(
        leaderboard=leaderboard,
        units=units,
        returns=sessions[["model", "target", "session", "net_return", "gross_return"]].dropna(ignore_index=True),
        symbol_returns=detail,
        importance=_importance(done),
        curves=_curves(done),
        calibration=_calibration(rows),
        answers=collect_answers(done, shown),
    )


def _units(plan: Plan, results: list[UnitResult]) -> pd.DataFrame:
    rows = [
        {"model": "", "target": "", "symbol": symbol, "status": "failed", "reason": problem}
        for symbol, problem in sorted(plan.inputs.problems.items())
    ]
    for result in results:
        unit, record = result.unit, result.record
        if unit.model == BASELINES and result.status in ("done", "skipped"):
            continue
        sizes = dict(zip(("train_rows", "validation_rows", "test_rows"), unit.rows, strict=True))
        sizes |= {name: record[name] for name in sizes if name in record}
        rows.append(
            {
                "model": unit.model,
                "target": unit.target,
                "symbol": unit.symbol,
                "status": result.status,
                "reason": result.reason,
                "notes": "; ".join(record.get("notes", [])),
                **sizes,
                "rounds": record.get("rounds", np.nan),
                "seconds": record.get("seconds", np.nan),
                **dict(sorted(record.get("scores", {}).get(unit.model, {}).items())),  # as read from a manifest
            }
        )
    fixed = ["model", "target", "symbol", "status", "reason", "notes", "train_rows", "validation_rows", "test_rows"]
    fixed += ["rounds", "seconds"]
    frame = pd.DataFrame(rows)
    return frame.reindex(columns=[*fixed, *(column for column in frame.columns if column not in fixed)])


def _test_rows(done: list[UnitResult]) -> pd.DataFrame:
    """Every test row of every unit: model (or baseline), target, symbol, task, session, and what was predicted."""
    columns = ["name", "timestamp", "session", "y", "prediction", *_MONEY, "net_return"]
    tables = [result.predictions for result in done]
    sizes = [len(table) for table in tables]
    rows = pa.concat_tables(tables).to_pandas(date_as_object=False) if tables else pd.DataFrame(columns=columns)
    for name, values in (
        ("target", [result.unit.target for result in done]),
        ("symbol", [result.unit.symbol for result in done]),
        ("task", [result.record["task"] for result in done]),
    ):
        rows[name] = pd.Categorical(np.repeat(np.array(values, dtype=object), sizes))
    rows["session"] = rows["session"].astype("datetime64[ns]")
    rows = rows.rename(columns={"name": "model"})
    rows["model"] = pd.Categorical(rows["model"])
    rows["loss"] = np.nan
    for task, part in rows.groupby("task", observed=True):
        rows.loc[part.index, "loss"] = row_loss(task, part["y"], part["prediction"])
    is_position = rows["model"].map({model: predicts_position(model) for model in rows["model"].cat.categories})
    rows.loc[is_position.astype(bool) & (rows["task"] == "regression"), "loss"] = np.nan
    return rows


def _by_session(rows: pd.DataFrame) -> pd.DataFrame:
    """Equal-weight portfolios and mean losses per session: each symbol's bars of a session count together."""
    keys = ("model", "target")
    return portfolio(rows, keys).assign(loss=by_session(rows, keys, mean=("loss",))["loss"])


def _leaderboard(plan: Plan, done: list[UnitResult], rows: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    settings = plan.settings["phases"]
    scores: dict[tuple[str, str], list[dict]] = {}
    for result in done:
        for name, values in result.record["scores"].items():
            scores.setdefault((name, result.unit.target), []).append(values)
    tasks = {result.unit.target: result.record["task"] for result in done}
    unlike = {result.unit.target for result in done if result.record["task"] != tasks[result.unit.target]}
    horizons: dict[str, int] = {}
    for result in done:
        horizons[result.unit.target] = max(horizons.get(result.unit.target, 1), result.record["horizon"])
    series = {key: part.set_index("session") for key, part in sessions.groupby(["model", "target"], observed=True)}
    pooled = dict(iter(rows.groupby(["model", "target"], observed=True)))
    symbols = {key: frozenset(part["symbol"].unique()) for key, part in pooled.items()}
    traded = {symbol: np.unique(about.sessions) for symbol, about in plan.inputs.symbols.items()}
    # Of a portfolio's own symbols: the panel may have others, which trade on days when these rest.
    yearly = {group: sessions_per_year(panel_sessions(traded[name] for name in group)) for group in symbols.values()}
    board = []
    for (name, target), values in sorted(scores.items()):
        key, task = (name, target), tasks[target]
        per_year = yearly[symbols[key]]
        bars_per_session = min(len(plan.inputs.symbols[one].sessions) / len(traded[one]) for one in symbols[key])
        bootstrap = {
            "samples": settings["bootstrap_samples"],
            "confidence": settings["confidence"],
            "block": default_block(len(series[key]), horizons[target], bars_per_session),
            "periods_per_year": per_year,
        }
        score_name, loss_name = SCORES[task]
        money = score_portfolio(
            *(series[key][column] for column in ("net_return", "turnover")),
            *(pooled[key][column] for column in ("position", "asset_return")),
            per_year,
        )
        interval = bootstrap_interval(series[key]["net_return"].dropna(), "sharpe", **bootstrap)
        kind = "model" if name in plan.models else "baseline"
        row = {
            "model": name,
            "target": target,
            "kind": kind,
            "symbols": len(values),
            "score_name": score_name,
            "score": _mean(values, score_name),
            "loss_name": loss_name,
            "loss": _mean(values, loss_name),
            **money.values,
            "sharpe_low": interval.low,
            "sharpe_high": interval.high,
            "reason": money.reason,
        }
        if target in unlike:
            row |= {"score": np.nan, "loss": np.nan, "reason": "binary for some symbols and not for others"}
        elif kind == "model":
            rivals = [rival for rival, aim in sorted(scores) if aim == target and rival not in plan.models]
            pairs = {rival: _paired(key, (rival, target), series, symbols, rows) for rival in rivals}
            for column, statistic, field in (
                ("beats_score", "mean_loss", "loss"),
                ("beats_money", "sharpe", "net_return"),
            ):
                row[column] = ",".join(
                    rival for rival, pair in pairs.items() if _beats(*pair, field, statistic, bootstrap)
                )
        board.append(row)
    columns = ["model", "target", "kind"]
    return rank(pd.DataFrame(board, columns=None if board else columns), settings["rank_by"])


def _mean(values: list[dict], metric: str) -> float:
    """The metric's mean over the symbols that have it; NaN where none has."""
    known = [scores[metric] for scores in values if metric in scores]
    return float(np.mean(known)) if known else float("nan")


def _paired(
    ours: tuple[str, str], theirs: tuple[str, str], series: dict, symbols: dict, rows: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A model's and a baseline's sessions over the same symbols."""
    if symbols[ours] == symbols[theirs]:
        return series[ours], series[theirs]
    common = _by_session(rows[rows["symbol"].isin(symbols[ours] & symbols[theirs])])
    both = {key: part.set_index("session") for key, part in common.groupby(["model", "target"], observed=True)}
    return both[ours], both[theirs]


def _beats(ours: pd.DataFrame, theirs: pd.DataFrame, field: str, statistic: str, bootstrap: dict) -> bool:
    both = pd.concat([ours[field], theirs[field]], axis=1).dropna()
    return bool(len(both)) and beats(both.iloc[:, 0], both.iloc[:, 1], statistic, **bootstrap).beats


def _detail(plan: Plan, leaderboard: pd.DataFrame, units: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """Test rows of the best and the worst symbols of the best model, by the leaderboard's metric."""
    columns = ["model", "target", "symbol", "session", "net_return", "position", "close"]
    count = plan.settings["phases"]["detail_symbols"]
    models = (
        leaderboard[(leaderboard["kind"] == "model") & leaderboard["sharpe"].notna()]
        if len(leaderboard)
        else leaderboard
    )
    if not count or not len(models):
        return pd.DataFrame(columns=columns)
    best = models.iloc[0]
    chosen = units[(units["model"] == best["model"]) & (units["target"] == best["target"]) & units["sharpe"].notna()]
    order = chosen.sort_values(["sharpe", "symbol"], ascending=[False, True])["symbol"].tolist()
    shown = order if len(order) <= 2 * count else order[:count] + order[-count:]
    part = rows[(rows["model"] == best["model"]) & (rows["target"] == best["target"])]
    frames = []
    for symbol in shown:
        one = part[part["symbol"] == symbol]
        frames.append(one.assign(close=(1 + one["asset_return"].astype(float)).cumprod() * 100))
    return pd.concat(frames, ignore_index=True)[columns].astype({"model": object, "target": object, "symbol": object})


def _importance(done: list[UnitResult]) -> pd.DataFrame:
    shares: dict[tuple[str, str], list[dict]] = {}
    for result in done:
        if result.record.get("importance"):
            shares.setdefault((result.unit.model, result.unit.target), []).append(result.record["importance"])
    frames = [
        pd.DataFrame(values)
        .fillna(0.0)
        .mean()
        .rename_axis("feature")
        .reset_index(name="importance")
        .assign(model=model, target=target)
        for (model, target), values in shares.items()
    ]
    columns = ["model", "target", "feature", "importance"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _curves(done: list[UnitResult]) -> pd.DataFrame:
    """Median and quartiles over symbols of each learning curve, as far as half of the symbols trained.

    A symbol that stopped earlier keeps its last value, so that no line jumps where one leaves.
    """
    curves: dict[tuple, list[list[float]]] = {}
    for result in done:
        for part, metrics in result.history.items():
            for metric, values in metrics.items():
                curves.setdefault((result.unit.model, result.unit.target, part, metric), []).append(values)
    frames = []
    for (model, target, part, metric), lines in curves.items():
        length = int(np.median([len(line) for line in lines]))
        table = np.array([line[:length] + line[-1:] * (length - len(line)) for line in lines])
        low, middle, high = np.percentile(table, (25, 50, 75), axis=0)
        frames.append(
            pd.DataFrame({"round": np.arange(1, length + 1), "value": middle, "low": low, "high": high}).assign(
                model=model, target=target, part=part, metric=metric
            )
        )
    columns = ["model", "target", "part", "metric", "round", "value", "low", "high"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)


def _calibration(rows: pd.DataFrame, bins: int = 10) -> pd.DataFrame:
    """Mean prediction and mean outcome in tenths of the pooled predictions of each model; positions are none."""
    frames = []
    known = rows[rows["loss"].notna()]
    for (model, target, task), part in known.groupby(["model", "target", "task"], observed=True):
        if part["prediction"].nunique() < 2:
            continue
        tenth = pd.qcut(part["prediction"], bins, labels=False, duplicates="drop")
        table = part.groupby(tenth).agg(predicted=("prediction", "mean"), observed=("y", "mean"), rows=("y", "size"))
        frames.append(table.assign(model=model, target=target, task=task))
    columns = ["model", "target", "task", "predicted", "observed", "rows"]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)
