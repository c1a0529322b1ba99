"""Who is best on each target, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError
from TRAINING.evaluation.comparison import diebold_mariano
from TRAINING.evaluation.information import information
from TRAINING.evaluation.metrics import SCORES, score_predictions
from TRAINING.evaluation.overfitting import backtest_overfitting, effective_trials
from TRAINING.evaluation.portfolio import score_portfolio
from TRAINING.evaluation.sharpe import ReturnMoments, deflated_sharpe, probabilistic_sharpe, return_moments
from TRAINING.evaluation.significance import beats, bootstrap_interval
from TRAINING.reports.leaderboard import rank
from TRAINING.walkforward.contest import Contest

COMPARISON = (
    "target", "model", "rival", "kind", "rival_loss", "loss_gain", "loss_low", "loss_high", "better_loss",
    "dm_statistic", "dm_p", "sharpe_gain", "sharpe_low", "sharpe_high", "better_sharpe", "reason",
)  # fmt: skip


def leaderboard(
    contests: Sequence[Contest],
    comparisons: pd.DataFrame,
    trials: int | None = None,
    trial_sharpes: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Rank every model and baseline of every target.

    Parameters
    ----------
    contests : sequence of Contest
    comparisons : DataFrame
        Of :func:`compare` for each of them.
    trials : int, optional
        Everything that was tried on these data; the models here by default.
    trial_sharpes : sequence of float, optional
        Sharpe ratios of those trials, per session; those of the models here by default.

    Returns
    -------
    DataFrame
        The fields of `TRAINING.reports.leaderboard`; ``information`` (mean rank IC), ``t_statistic`` and ``method``,
        see `TRAINING.evaluation.information`; ``psr`` and ``dsr``, the probabilities that the true Sharpe ratio is
        above 0 and above what luck gives the best of so many ``trials``, ``dsr_reason``; ``rival``, the baseline with
        the lowest loss, and ``dm_p``, the p-value of Diebold and Mariano's test against it. Each target is ranked by
        itself, by Sharpe ratio or, where nothing is traded, by score; the target with the best model comes first.

    Raises
    ------
    ConfigError
        Fewer trials than models.
    """
    tried = sum(len(contest.models) for contest in contests)
    if trials is not None and trials < tried:
        raise ConfigError(f"report: trials must count at least the {tried} results at hand; got {trials}")
    rows, moments = [], {}
    for contest in contests:
        known = information(contest.rows, contest.horizon)
        known = known[known["coefficient"] == "rank_ic"].set_index("model").to_dict("index")
        for name in contest.rows["model"].cat.categories:
            row, moments[name, contest.target] = _row(contest, name, known[name])
            rows.append(row)
    own = [moments[name, contest.target].sharpe for contest in contests for name in contest.models]
    sharpes = own if trial_sharpes is None else trial_sharpes
    for row in rows:
        if row["kind"] == "model":
            _deflate(row, moments[row["model"], row["target"]], trials or tried, sharpes)
            _compare(row, comparisons, rows)
        row["reason"] = "; ".join(dict.fromkeys(filter(None, row.pop("reasons"))))
    board = pd.DataFrame(rows)
    best = board[board["kind"] == "model"].groupby("target")["sharpe"].max().sort_values(ascending=False, kind="stable")
    parts = [board[board["target"] == target] for target in best.index]
    ranked = [rank(part, "sharpe" if part["sharpe"].notna().any() else "score") for part in parts]
    return pd.DataFrame([row for part in ranked for row in part.to_dict("records")])


def _row(contest: Contest, name: str, known: dict) -> tuple[dict, ReturnMoments]:
    rows, sessions = contest.of_model(name), contest.sessions[contest.sessions["model"] == name]
    score_name, loss_name = SCORES[contest.task]
    row = {
        "model": name,
        "target": contest.target,
        "kind": "model" if name in contest.models else "baseline",
        "symbols": rows["symbol"].nunique(),
        "score_name": score_name,
        "loss_name": loss_name,
        "dsr_reason": "",
        **dict.fromkeys(
            ("score", "loss", "information", "t_statistic", "method", "psr", "dsr", "trials", "dm_p"), np.nan
        ),
    }
    reasons = []
    if rows["prediction"].notna().any():
        scored = score_predictions(contest.task, rows["y"], rows["prediction"], is_position=name in contest.positions)
        row |= {"score": scored.values[score_name], "loss": scored.values[loss_name], "method": known["method"]}
        row |= {"information": known["mean"], "t_statistic": known["t_statistic"]}
        whys = [scored.reasons.get(metric) for metric in (score_name, loss_name)]
        reasons += [why and f"{score_name}: {why}" for why in dict.fromkeys(whys)]
        reasons.append("" if np.isfinite(known["t_statistic"]) or any(whys) else known["reason"])
    money = score_portfolio(
        sessions["net_return"], sessions["turnover"], rows["position"], rows["asset_return"], contest.per_year
    )
    net = contest.series(name, "net_return")
    moments = return_moments(net)
    row |= money.values
    reasons.append(money.reasons.get("sharpe") and f"Sharpe: {money.reasons['sharpe']}")
    if np.isfinite(money.values["sharpe"]):
        interval = bootstrap_interval(net, "sharpe", block=contest.block(len(net)), periods_per_year=contest.per_year)
        chance = probabilistic_sharpe(moments)
        row |= {"sharpe_low": interval.low, "sharpe_high": interval.high, "psr": chance.value}
        reasons += [interval.reason and f"interval: {interval.reason}", chance.reason and f"psr: {chance.reason}"]
    return row | {"reasons": reasons}, moments


def _deflate(row: dict, moments: ReturnMoments, trials: int, sharpes: Sequence[float]) -> None:
    deflated = deflated_sharpe(moments, trials, sharpes)
    row |= {"dsr": deflated.probability, "trials": trials}
    if np.isfinite(row.get("psr", np.nan)) and deflated.reason:
        row["dsr_reason"] = f"dsr: {deflated.reason}"


def _compare(row: dict, comparisons: pd.DataFrame, rows: Iterable[dict]) -> None:
    """What the model beats among the baselines, and the test against the best of them."""
    own = comparisons[(comparisons["target"] == row["target"]) & (comparisons["model"] == row["model"])]
    own = own[own["kind"] == "baseline"].set_index("rival")
    row["beats_score"] = ",".join(own.index[own["better_loss"]])
    row["beats_money"] = ",".join(own.index[own["better_sharpe"]])
    losses = {other["model"]: other["loss"] for other in rows
              if other["target"] == row["target"] and np.isfinite(other.get("loss", np.nan))}  # fmt: skip
    rivals = [name for name in own.index if name in losses]
    if rivals and row["model"] in losses:
        row["rival"] = min(rivals, key=losses.get)
        row["dm_p"] = own.loc[row["rival"], "dm_p"]


def compare(contest: Contest) -> pd.DataFrame:
    """Each model against each baseline and each model after it: how much better, and whether more than by chance.

    Returns
    -------
    DataFrame
        ``target, model, rival``, ``kind`` of the rival, and over the sessions that both have: ``rival_loss`` (mean log
        loss, or squared error), ``loss_gain`` (that less the model's) with its bootstrap interval ``loss_low,
        loss_high``, ``better_loss`` (the interval is above 0), ``dm_statistic, dm_p`` (Diebold and Mariano's test);
        ``sharpe_gain, sharpe_low, sharpe_high, better_sharpe``; ``reason`` of what is undefined.
    """
    pairs = [(model, rival, "baseline") for model in contest.models for rival in contest.baselines]
    pairs += [(model, rival, "model") for model, rival in combinations(contest.models, 2)]
    table = []
    for model, rival, kind in pairs:
        row, reasons = {"target": contest.target, "model": model, "rival": rival, "kind": kind}, []
        for column, statistic, gain in (("loss", "mean_loss", "loss"), ("net_return", "sharpe", "sharpe")):
            ours, theirs = contest.paired(model, rival, column)
            row |= dict.fromkeys((f"{gain}_gain", f"{gain}_low", f"{gain}_high"), np.nan) | {f"better_{gain}": False}
            if not len(ours):
                continue
            found = beats(ours, theirs, statistic, block=contest.block(len(ours)), periods_per_year=contest.per_year)
            row |= {f"{gain}_gain": found.point, f"{gain}_low": found.low, f"{gain}_high": found.high}
            row[f"better_{gain}"] = found.beats
            reasons.append(found.reason and f"{gain}: {found.reason}")
            if column == "loss":
                test = diebold_mariano(ours, theirs, horizon=contest.horizon)
                row |= {"rival_loss": theirs.mean(), "dm_statistic": test.statistic, "dm_p": test.p_value}
        table.append(row | {"reason": "; ".join(filter(None, reasons))})
    return pd.DataFrame(table).reindex(columns=COMPARISON)


def overfitting(contests: Sequence[Contest]) -> pd.DataFrame:
    """What choosing the model with the best Sharpe ratio is worth: per target, and over all where there are several.

    Returns
    -------
    DataFrame
        ``target``, ``strategies``, ``effective`` (number of independent trials that are as different), ``sessions``,
        ``probability`` of overfitting, ``loss_probability``, see `TRAINING.evaluation.overfitting`, and ``reason``.
    """
    returns = {
        contest.target: {name: contest.series(name, "net_return") for name in contest.models} for contest in contests
    }
    returns = {target: {name: values for name, values in of.items() if len(values)} for target, of in returns.items()}
    chosen = {target: list(of.values()) for target, of in returns.items() if of}
    if len(chosen) > 1:
        chosen["all targets"] = [values for of in chosen.values() for values in of]
    table = []
    for target, series in chosen.items():
        matrix = pd.concat(series, axis=1, join="inner")
        found, effective = backtest_overfitting(matrix), effective_trials(matrix)
        table.append(
            {
                "target": target,
                "strategies": len(series),
                "effective": effective.value,
                "sessions": len(matrix),
                "probability": found.probability,
                "loss_probability": found.loss_probability,
                "reason": found.reason or "",
            }
        )
    columns = ["target", "strategies", "effective", "sessions", "probability", "loss_probability", "reason"]
    return pd.DataFrame(table, columns=columns)
