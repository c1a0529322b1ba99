"""From the results of walk-forwards to what their report shows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from TRAINING.evaluation.autocorrelation import default_lags, newey_west_mean
from TRAINING.evaluation.baselines import left_out
from TRAINING.evaluation.breakdown import breakdown, market_returns, regimes
from TRAINING.evaluation.information import session_information
from TRAINING.evaluation.portfolio import cost_sensitivity
from TRAINING.evaluation.significance import FEWEST_BLOCKS, bootstrap_indices
from TRAINING.model_fun.registry import predicts_position
from TRAINING.reports.reliability import reliability_bins
from TRAINING.reports.walkforward import Summary
from TRAINING.runs.manifest import digest
from TRAINING.walkforward.contest import Contest, contests_of
from TRAINING.walkforward.leaderboard import compare, leaderboard, overfitting
from TRAINING.walkforward.reliability import (
    calibration_scores,
    coverage_scores,
    coverage_through_time,
    gate_rows,
    is_gated,
)
from TRAINING.walkforward.results import WalkForwardResults
from TRAINING.walkforward.uncertainty import NO_INTERVALS

TOP_FEATURES = 10
INFORMATION_WINDOW = 252  # sessions
CALIBRATION_BLOCK = 21  # sessions
BAND_SAMPLES, BAND_POINTS = 1000, 250
_AUDIT = ["check", "verdict", "reason"]


def summarise(
    results: Sequence[WalkForwardResults],
    trials: int | None = None,
    audit: pd.DataFrame | None = None,
    trial_sharpes: Sequence[float] | None = None,
) -> Summary:
    """Put the results of several walk-forwards side by side: any models and targets of one panel.

    Parameters
    ----------
    results : sequence of WalkForwardResults
        With the same data, windows and costs.
    trials : int, optional
        Everything that was tried on these data so far, these results included (``Ledger.count``). By default these
        results alone, which flatters them if there were others.
    audit : DataFrame, optional
        ``check, verdict, reason``, a row per check.
    trial_sharpes : sequence of float, optional
        Sharpe ratios of the trials, per session (``Ledger.sharpes``); those of these results by default.

    Raises
    ------
    ConfigError
        No result, or fewer trials than results.
    DataError
        Results of different panels, windows or costs.
    """
    contests = contests_of(results)
    by_target = {contest.target: contest for contest, _ in contests}
    comparisons = pd.concat([compare(contest) for contest, _ in contests], ignore_index=True)
    board = leaderboard(list(by_target.values()), comparisons, trials, trial_sharpes)
    named = [(name, result) for _, entries in contests for name, result in entries]

    def each(make, **options) -> pd.DataFrame:
        """One frame of all targets."""
        frames = [make(contest, **options) for contest in by_target.values()]
        for frame, target in zip(frames, by_target, strict=True):
            frame.insert(0, "target", target)
        return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)

    gated = [name for name, result in named if is_gated(result)]

    def predicting(frame: pd.DataFrame) -> pd.DataFrame:
        """Without those whose predictions are another's."""
        return frame[~frame["model"].isin(gated)].reset_index(drop=True)

    coverage = coverage_scores(named)
    importance, agreement = _importance(named)
    return Summary(
        facts=_facts(results, board),
        settings=_settings(named),
        notes=_notes(named, trials),
        leaderboard=_beside(board, predicting(each(calibration_scores)), coverage[coverage["year"].isna()]),
        comparisons=pd.concat([comparisons, *gate_rows(named)], ignore_index=True),
        overfitting=overfitting(list(by_target.values())),
        folds=_folds(named),
        fold_scores=(fold_scores := each(_fold_scores)),
        fold_wins=_fold_wins(fold_scores, board),
        returns=_beside(
            each(lambda contest: contest.sessions.drop(columns="loss")), coverage_through_time(named, _window)
        ),
        bands=each(_bands, board=board),
        information=predicting(each(_information)),
        calibration=predicting(each(_calibration)),
        importance=importance,
        agreement=agreement,
        costs=each(lambda contest: cost_sensitivity(contest.rows)),
        symbols=each(lambda contest: breakdown(contest.rows, contest.task, "symbol", positions=contest.positions)),
        years=_beside(
            each(lambda contest: breakdown(contest.rows, contest.task, "year", positions=contest.positions)),
            coverage[coverage["year"].notna()],
        ),
        regimes=each(_regimes),
        audit=pd.DataFrame(columns=_AUDIT) if audit is None else audit[_AUDIT],
    )


def _beside(frame: pd.DataFrame, *others: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with the further columns of others that have rows."""
    for other in others:
        keys = [name for name in ("target", "model", "year", "session") if name in frame and name in other]
        news = [name for name in other if name not in frame and other[name].notna().any()]
        if news:
            frame = frame.merge(other[[*keys, *news]], "left", keys)
    return frame


def _folds(named: list[tuple[str, WalkForwardResults]]) -> pd.DataFrame:
    """Every fold of every result; a validation tail, if there is one, begins about where ``validation_start`` says."""
    frames = []
    for name, result in named:
        share = result.manifest["settings"]["early_stopping"]
        folds = result.folds
        held_out = share * (folds["validation_rows"] > 0)
        start = folds["train_end"] - held_out * (folds["train_end"] - folds["train_start"])
        place = folds.columns.get_loc("train_end")
        frame = folds.copy()
        frame.insert(place, "validation_start", start.dt.normalize())
        frame.insert(0, "model", name)
        frame.insert(0, "target", result.manifest["target"])
        frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _fold_scores(contest: Contest) -> pd.DataFrame:
    """Metrics of the stitched rows of each fold, with its first session."""
    rows = contest.rows[contest.rows["fold"] >= 0]
    table = breakdown(rows, contest.task, "fold", positions=contest.positions)
    table.insert(1, "start", table["fold"].map(rows.groupby("fold")["session"].min()))
    return table


def _fold_wins(scores: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """In how many folds each model is better than each baseline, of those in which both are defined."""
    table = []
    for target, rows in scores.groupby("target", sort=False):
        own = board[board["target"] == target]
        metrics = [own["score_name"].iloc[0], own["loss_name"].iloc[0], "sharpe"]
        wide = rows.pivot(index="fold", columns="model", values=metrics)
        for model in own.loc[own["kind"] == "model", "model"]:
            for rival in own.loc[own["kind"] == "baseline", "model"]:
                for metric in metrics:
                    gain = (wide[metric, model] - wide[metric, rival]).dropna()
                    better = (gain < 0 if metric == metrics[1] else gain > 0).sum()
                    table.append({"target": target, "model": model, "rival": rival, "metric": metric,
                                  "folds": len(gain), "better": better,
                                  "share": better / len(gain) if len(gain) else np.nan})  # fmt: skip
    return pd.DataFrame(table, columns=["target", "model", "rival", "metric", "folds", "better", "share"])


def _bands(contest: Contest, board: pd.DataFrame) -> pd.DataFrame:
    """Where 95 % of the growths of resampled returns lie, session by session, of the target's best model."""
    columns = ["model", "session", "low", "high"]
    models = board[(board["target"] == contest.target) & (board["kind"] == "model") & board["sharpe"].notna()]
    if not len(models):
        return pd.DataFrame(columns=columns)
    name = models["model"].iloc[0]
    returns = contest.series(name, "net_return")
    block = contest.block(len(returns))
    if len(returns) < FEWEST_BLOCKS * block:
        return pd.DataFrame(columns=columns)
    growth = np.cumprod(1 + returns.to_numpy()[bootstrap_indices(len(returns), block, BAND_SAMPLES, 0)], axis=1)
    place = np.unique(np.linspace(0, len(returns) - 1, BAND_POINTS).astype(int))
    low, high = np.quantile(growth[:, place], [0.025, 0.975], axis=0)
    return pd.DataFrame({"model": name, "session": returns.index[place], "low": low, "high": high})


def _information(contest: Contest) -> pd.DataFrame:
    """Mean rank IC over trailing sessions with its 95 % interval, about 12 times in a window."""
    rows = contest.rows[contest.rows["y"].notna() & contest.rows["prediction"].notna()]
    sections = session_information(rows).pivot(index="session", columns="model", values="rank_ic")
    usable = sections.notna().mean() >= 0.5
    values = sections.loc[:, usable].join(_products(rows).loc[:, ~usable])
    window = _window(len(values))
    table = []
    for name, stop in product(values, range(len(values), window - 1, -max(1, window // 12))):
        known = values[name].iloc[stop - window : stop].dropna().to_numpy()
        mean, error = newey_west_mean(known, default_lags(len(known), contest.horizon))
        table.append({"model": name, "session": values.index[stop - 1], "sessions": window, "rank_ic": mean,
                      "low": mean - 1.96 * error, "high": mean + 1.96 * error})  # fmt: skip
    columns = ["model", "session", "sessions", "rank_ic", "low", "high"]
    return pd.DataFrame(table, columns=columns).sort_values(["model", "session"], ignore_index=True)


def _window(sessions: int) -> int:
    """Trailing sessions for so many that there are."""
    return min(INFORMATION_WINDOW, max(21, sessions // 4))


def _products(rows: pd.DataFrame) -> pd.DataFrame:
    """Per session and name a value whose mean is the rank correlation through time, mean over symbols.

    It is the product of the standardised ranks, which panels of few symbols must do with.
    """
    keys = [rows["model"].astype(str), rows["symbol"]]
    standard = []
    for column in ("prediction", "y"):
        ranks = rows[column].groupby(keys, observed=True).rank().groupby(keys, observed=True)
        standard.append((ranks.obj - ranks.transform("mean")) / ranks.transform("std", ddof=0).replace(0, np.nan))
    return (standard[0] * standard[1]).groupby([rows["session"], keys[0]]).mean().unstack()


def _calibration(contest: Contest) -> pd.DataFrame:
    """Predicted against what came, in tenths of each name's guesses at the label; intervals for probabilities."""
    guesses = contest.rows[~contest.rows["model"].isin(contest.positions)]
    bins = reliability_bins(guesses, block=max(CALIBRATION_BLOCK, contest.horizon))
    if contest.task != "binary":
        bins[["low", "high"]] = np.nan
    bins.insert(1, "task", contest.task)
    return bins


def _regimes(contest: Contest) -> pd.DataFrame:
    known = regimes(market_returns(contest.rows))
    return breakdown(contest.rows, contest.task, "regime", known, contest.positions)


def _importance(named: list[tuple[str, WalkForwardResults]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """How each feature's share varies over the folds, and how alike neighbouring folds rank the features."""
    from scipy.stats import spearmanr

    shares, agreement = [], []
    for name, result in named:
        about = {"target": result.manifest["target"], "model": name}
        if not len(result.importance):
            continue
        # With a model per symbol, the mean over symbols; a feature that a model was not given has no share in it.
        wide = result.importance.pivot_table(index="fold", columns="feature", values="importance", aggfunc="mean")
        wide = wide.fillna(0.0)
        top = wide.rank(axis=1, ascending=False, method="first") <= TOP_FEATURES
        table = pd.DataFrame({"mean": wide.mean(), "low": wide.min(), "high": wide.max(), "top": top.mean()})
        table = table.assign(folds=len(wide)).rename_axis("feature").reset_index()
        table = table.sort_values(["mean", "feature"], ascending=[False, True])
        shares.append(table.assign(**about))
        for before, after in zip(wide.index[:-1], wide.index[1:], strict=True):
            first, second = wide.loc[before].to_numpy(), wide.loc[after].to_numpy()
            varies = np.ptp(first) > 0 and np.ptp(second) > 0
            value = float(spearmanr(first, second).statistic) if varies else np.nan
            agreement.append(about | {"fold": after, "rank_correlation": value})
    columns = ["target", "model", "feature", "mean", "low", "high", "top", "folds"]
    joined = pd.concat(shares, ignore_index=True)[columns] if shares else pd.DataFrame(columns=columns)
    return joined, pd.DataFrame(agreement, columns=["target", "model", "fold", "rank_correlation"])


def _facts(results: Sequence[WalkForwardResults], board: pd.DataFrame) -> dict[str, str]:
    """What was asked, for the page's head."""
    about = results[0].manifest
    settings, names, lag = about["settings"], about["symbols"], about["backtest"]["execution_lag"]
    states = pd.concat([result.folds["status"] for result in results]).value_counts()
    told = ", ".join(f"{states[state]:,} {state}" for state in ("done", "skipped", "failed") if state in states)
    tested = pd.concat([result.predictions["session"].agg(["min", "max"]) for result in results])
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    days = " / ".join(str(settings[name]) for name in ("train_days", "test_days", "step_days"))
    return {
        "models": ", ".join(dict.fromkeys(board.loc[board["kind"] == "model", "model"])),
        "targets": ", ".join(dict.fromkeys(board["target"])),
        "symbols": f"{len(names)}: {shown}" if any(names) else "1",
        "tested": f"{tested.min():%Y-%m-%d} to {tested.max():%Y-%m-%d}",
        "folds": f"{results[0].folds['fold'].nunique()}; of all results {told}",
        "train / test / step": f"{days} sessions, {settings['mode']}",
        "sessions of the panel": " to ".join(about["sessions"]),
        "costs": f"{about['backtest']['cost_bps']:g} bps a change of position by 1",
        "execution": "at the signal's own close" if not lag else f"{lag} bar{'s'[: lag > 1]} after the signal's close",
        "trials counted": f"{int(board['trials'].max()):,}",
    }


def _settings(named: list[tuple[str, WalkForwardResults]]) -> dict[str, str]:
    """Fingerprints and configurations."""
    about = named[0][1].manifest
    found = {
        "data (sha256)": about["data"],
        "features": f"{len(about['features'])} (sha256 {digest(about['features'])[:16]})",
        "walk-forward": _listed(about["settings"], {"metrics", "target", "scope", "gates"}),
        "backtest": _listed(about["backtest"]),
    }
    for name, result in named:
        about = result.manifest
        found[f"{name} on {about['target']}"] = (
            f"config {digest(about['config'])[:16]}, scope {about['settings']['scope']}, {about['task']}, "
            f"held {about['horizon']} bars{_gates(about)}\n{_listed(about['config'])}"
        )
    environment = about["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
    return found | {"versions": f"Python {environment['python']}, {versions}", "platform": environment["platform"]}


def _gates(about: dict) -> str:
    """The gates that positions passed through, if any."""
    settings = about["settings"].get("gates")
    if not settings:
        return ""
    level = f"{settings['threshold']:g}" if settings["threshold"] else "the class's share"
    return f", gates {', '.join(settings['targets'])}: {settings['rule']} below {level}"


def _listed(values: dict, without: set[str] = frozenset()) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(values.items()) if name not in without)


def _notes(named: list[tuple[str, WalkForwardResults]], trials: int | None) -> list[str]:
    """What a careful reader would want to be told before the numbers."""
    about, notes = named[0][1].manifest, []
    for name, result in named:
        failed = result.folds[result.folds["status"] != "done"]
        if len(failed):
            where = f"{name} on {result.manifest['target']}"
            notes.append(f"{where}: {len(failed)} of {len(result.folds)} folds are missing, see Folds")
        raw = [note for note in result.manifest.get("notes", ()) if note.startswith(f"{result.manifest['model']}: ")]
        if raw:
            where, folds = f"{name} on {result.manifest['target']}", result.folds["fold"].nunique()
            notes.append(f"{where}: {len(raw)} of {folds} folds are not calibrated; {raw[-1].split(': ', 1)[1]}")
        asked = result.manifest["task"] == "regression" and result.manifest["settings"]["intervals"]
        if asked and "lower" not in result.predictions and predicts_position(result.manifest["model"]):
            notes.append(f"{name} on {result.manifest['target']}: no intervals; {NO_INTERVALS}")
    notes += filter(None, [left_out(about["features"])])
    if about["backtest"]["execution_lag"] == 0:
        notes.append("execution_lag is 0: fills at the close that gave the signal, which nobody can trade")
    if about["untested_sessions"]:
        notes.append(f"the last {about['untested_sessions']} sessions are in no test window yet")
    if trials is None:
        notes.append(
            "deflated Sharpe ratios count the results on this page alone; whatever else was tried on these data makes "
            "them lower"
        )
    return notes
