"""The summary of walk-forwards against slow loops over their rows, and scipy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from CONFIG.errors import ConfigError, DataError
from TRAINING.evaluation.sharpe import deflated_sharpe, return_moments
from TRAINING.evaluation.significance import beats, bootstrap_interval
from TRAINING.reports.walkforward import Summary
from TRAINING.walkforward import WalkForwardEngine, WalkForwardResults
from TRAINING.walkforward.contest import Contest
from TRAINING.walkforward.summary import summarise

CONFIG = {"n_estimators": 15, "learning_rate": 0.1, "early_stopping_rounds": 5}
TARGETS = ("y_will_peak", "fwd_ret_5", "MFE")


@pytest.fixture(scope="module")
def results(panel: pd.DataFrame) -> dict[tuple[str, str], WalkForwardResults]:
    engine = WalkForwardEngine(panel, 120, 39, 39, min_train_samples=50)
    return {
        (model, target): engine.run(model, CONFIG, target=target)
        for target in TARGETS
        for model in (("lightgbm", "xgboost") if target == "fwd_ret_5" else ("lightgbm",))
    }


@pytest.fixture(scope="module")
def summary(results: dict) -> Summary:
    return summarise(list(results.values()))


@pytest.fixture(scope="module")
def traded(results: dict) -> Contest:
    return Contest.of({model: results[model, "fwd_ret_5"] for model in ("lightgbm", "xgboost")})


def row_of(summary: Summary, model: str, target: str) -> pd.Series:
    board = summary.leaderboard
    return board[(board["model"] == model) & (board["target"] == target)].iloc[0]


def without_fold(result: WalkForwardResults, fold: int) -> WalkForwardResults:
    rows = result.predictions
    return replace(result, predictions=rows[rows["fold"] != fold].reset_index(drop=True))


# ---- leaderboard ----------------------------------------------------------------------------------------------------


def test_the_leaderboard_repeats_the_metrics_of_the_results(summary: Summary, results: dict) -> None:
    for (_, target), result in results.items():
        for name, metrics in result.metrics.iterrows():
            if target == "MFE" and name == "buy_and_hold":
                continue  # nothing is traded on this target
            row = row_of(summary, name, target)
            assert row["max_drawdown"] == pytest.approx(metrics["max_drawdown"], nan_ok=True)
            # Sessions per year are those of the tested sessions here, of the whole panel there.
            assert row["sharpe"] == pytest.approx(metrics["sharpe"], rel=0.02, nan_ok=True)
            for score in ("auc", "log_loss", "rank_ic", "rmse"):
                if score in metrics:
                    own = row["score"] if row["score_name"] == score else row["loss"]
                    assert own == pytest.approx(metrics[score], nan_ok=True)


def test_targets_stand_by_themselves(summary: Summary) -> None:
    board = summary.leaderboard
    for target, rows in board.groupby("target"):
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
        order = rows["score"] if target == "MFE" else rows["sharpe"]
        assert order.dropna().is_monotonic_decreasing
        assert {"lightgbm", "vol_ratio"} <= set(rows["model"])
    assert "buy_and_hold" not in set(board.loc[board["target"] == "MFE", "model"])
    assert list(dict.fromkeys(board["target"]))[-1] == "MFE"  # what is traded comes first


def test_intervals_and_deflation_are_those_of_the_returns(summary: Summary, results: dict) -> None:
    nets = {
        key: result.returns.query("model == @key[0]").set_index("session")["net_return"].dropna()
        for key, result in results.items()
    }
    moments = {key: return_moments(net) for key, net in nets.items() if len(net)}
    sharpes = [each.sharpe for each in moments.values()]
    for key, each in moments.items():
        row = row_of(summary, *key)
        expected = deflated_sharpe(each, 4, sharpes)
        assert row["dsr"] == pytest.approx(expected.probability)
        assert row["trials"] == 4
        assert row["psr"] > row["dsr"]
        per_year = (row["sharpe"] / each.sharpe) ** 2
        interval = bootstrap_interval(nets[key], "sharpe", block=7, periods_per_year=per_year)  # the cube root of 279
        assert (row["sharpe_low"], row["sharpe_high"]) == pytest.approx((interval.low, interval.high))
    assert np.isnan(row_of(summary, "lightgbm", "MFE")["dsr"])


def test_more_trials_prove_less(results: dict, summary: Summary) -> None:
    several = summarise(list(results.values()), trials=400)
    given = summarise(list(results.values()), trials=400, trial_sharpes=[-0.3, 0.0, 0.3])
    key = ("lightgbm", "fwd_ret_5")
    assert row_of(summary, *key)["dsr"] > row_of(several, *key)["dsr"] > row_of(given, *key)["dsr"]
    assert not any("count the" in note for note in several.notes)
    assert any("count the results on this page alone" in note for note in summary.notes)
    with pytest.raises(ConfigError, match="at least the 4 results at hand; got 3"):
        summarise(list(results.values()), trials=3)


# ---- comparisons ----------------------------------------------------------------------------------------------------


def test_comparisons_are_those_of_loops(summary: Summary, results: dict) -> None:
    rows = results["lightgbm", "fwd_ret_5"].predictions
    losses: dict[str, dict] = {"lightgbm": {}, "ridge": {}}
    for name, by_session in losses.items():
        own = rows[(rows["model"] == name) & rows["y"].notna() & (rows["fold"] >= 0)]
        for session, part in own.groupby("session"):
            by_session[session] = np.mean([(y - p) ** 2 for y, p in zip(part["y"], part["prediction"], strict=True)])
    ours, theirs = ([values[day] for day in sorted(values)] for values in losses.values())
    found = beats(ours, theirs, "mean_loss", block=7)
    pairs = summary.comparisons.set_index(["target", "model", "rival"])
    pair = pairs.loc["fwd_ret_5", "lightgbm", "ridge"]
    assert pair["loss_gain"] == pytest.approx(np.mean(theirs) - np.mean(ours))
    assert pair["rival_loss"] == pytest.approx(np.mean(theirs))
    assert (pair["loss_low"], pair["loss_high"]) == pytest.approx((found.low, found.high))
    assert pair["better_loss"] == found.beats
    assert np.isnan(pairs.loc["fwd_ret_5", "lightgbm", "buy_and_hold"]["loss_gain"])
    assert np.isfinite(pairs.loc["fwd_ret_5", "lightgbm", "buy_and_hold"]["sharpe_gain"])
    assert pairs.loc["fwd_ret_5", "lightgbm", "xgboost"]["kind"] == "model"
    assert ("fwd_ret_5", "xgboost", "lightgbm") not in pairs.index  # once is enough


def test_the_board_names_what_is_beaten(summary: Summary) -> None:
    for row in summary.leaderboard.query("kind == 'model'").to_dict("records"):
        pairs = summary.comparisons.query("target == @row['target'] and model == @row['model'] and kind == 'baseline'")
        for column, better in (("beats_score", "better_loss"), ("beats_money", "better_sharpe")):
            assert {*filter(None, row[column].split(","))} == set(pairs.loc[pairs[better], "rival"])
        losses = summary.leaderboard.query("target == @row['target'] and kind == 'baseline'").set_index("model")["loss"]
        assert row["rival"] == losses.idxmin()
        assert row["dm_p"] == pairs.set_index("rival").loc[row["rival"], "dm_p"]
    # The features hold something to learn, so that the columns above are not all empty.
    assert "mean" in row_of(summary, "lightgbm", "fwd_ret_5")["beats_score"]


def test_names_are_compared_on_what_both_have(traded: Contest) -> None:
    rows = traded.rows
    gone = (rows["model"] == "ridge") & (rows["symbol"] == "A") & (rows["fold"] == 1)
    less = replace(traded, rows=rows[~gone].reset_index(drop=True))
    ours, theirs = less.paired("lightgbm", "ridge", "loss")
    rows = less.rows.dropna(subset="loss").astype({"model": str, "symbol": str})
    keys = {name: set(zip(part["symbol"], part["session"], strict=True)) for name, part in rows.groupby("model")}
    both = keys["lightgbm"] & keys["ridge"]
    assert len(both) < len(keys["lightgbm"])
    for series, name in ((ours, "lightgbm"), (theirs, "ridge")):
        own = rows[
            (rows["model"] == name)
            & np.array([key in both for key in zip(rows["symbol"], rows["session"], strict=True)])
        ]
        expected = [np.mean(part["loss"]) for _, part in own.groupby("session")]
        assert series == pytest.approx(expected)


def test_overfitting_needs_a_choice(summary: Summary) -> None:
    found = summary.overfitting.set_index("target")
    assert found["strategies"].to_dict() == {"y_will_peak": 1, "fwd_ret_5": 2, "all targets": 3}
    assert 0 <= found.loc["fwd_ret_5", "probability"] <= 1
    assert "nothing was chosen" in found.loc["y_will_peak", "reason"]


# ---- the frames behind the pictures ---------------------------------------------------------------------------------


def test_folds_won_are_counted(summary: Summary) -> None:
    scores = summary.fold_scores.query("target == 'fwd_ret_5'")
    for row in summary.fold_wins.query("target == 'fwd_ret_5'").to_dict("records"):
        own, other = (scores[scores["model"] == row[side]].set_index("fold")[row["metric"]]
                      for side in ("model", "rival"))  # fmt: skip
        known = [fold for fold in own.index if pd.notna(own[fold]) and pd.notna(other[fold])]
        sign = -1 if row["metric"] == "rmse" else 1
        assert row["folds"] == len(known)
        assert row["better"] == sum(sign * own[fold] > sign * other[fold] for fold in known)


def test_information_through_time_of_few_symbols_is_a_mean_of_products(summary: Summary, traded: Contest) -> None:
    rows = traded.of_model("lightgbm").dropna(subset=["y", "prediction"]).astype({"symbol": str})
    products: dict[pd.Timestamp, list[float]] = {}
    for _, part in rows.groupby("symbol"):
        columns = [part[name].rank().to_numpy() for name in ("y", "prediction")]
        first, second = ((ranks - ranks.mean()) / ranks.std() for ranks in columns)
        for session, value in zip(part["session"], first * second, strict=True):
            products.setdefault(session, []).append(value)
        assert (first * second).mean() == pytest.approx(spearmanr(part["y"], part["prediction"]).statistic)
    values = [np.mean(products[session]) for session in sorted(products)]
    found = summary.information.query("target == 'fwd_ret_5' and model == 'lightgbm'")
    window = found["sessions"].iloc[0]
    assert found["session"].iloc[-1] == max(products)
    assert found["rank_ic"].iloc[-1] == pytest.approx(np.mean(values[-window:]))
    assert (found["low"] < found["rank_ic"]).all()
    assert (found["rank_ic"] < found["high"]).all()


def test_information_through_time_of_many_symbols_is_that_of_each_session(results: dict) -> None:
    result = results["lightgbm", "fwd_ret_5"]
    one = result.predictions.query("symbol == 'A'")
    random = np.random.default_rng(5)
    copies = [one.assign(symbol=name, prediction=one["prediction"] + random.normal(0, 0.01, len(one)),
                         y=one["y"] + random.normal(0, 0.01, len(one))) for name in "ABCDEFG"]  # fmt: skip
    manifest = result.manifest | {"symbols": list("ABCDEFG")}
    many = replace(result, predictions=pd.concat(copies, ignore_index=True), manifest=manifest)
    found = summarise([many]).information.query("model == 'lightgbm'")
    rows = many.predictions.query("model == 'lightgbm' and fold >= 0").dropna(subset="y")
    by_session = [spearmanr(part["y"], part["prediction"]).statistic for _, part in rows.groupby("session")]
    assert found["rank_ic"].iloc[-1] == pytest.approx(np.mean(by_session[-found["sessions"].iloc[0] :]))


def test_importance_is_summed_up_over_folds(results: dict) -> None:
    shares = {0: {"a": 0.5, "b": 0.3, "c": 0.2}, 1: {"a": 0.2, "b": 0.7, "c": 0.1}, 2: {"a": 0.6, "b": 0.4}}
    rows = [(fold, "", name, share) for fold, table in shares.items() for name, share in table.items()]
    importance = pd.DataFrame(rows, columns=["fold", "symbol", "feature", "importance"])
    summary = summarise([replace(results["lightgbm", "MFE"], importance=importance)])
    found = summary.importance.set_index("feature")
    assert found.index.tolist() == ["b", "a", "c"]
    assert found.loc["c", ["mean", "low", "high"]].tolist() == pytest.approx([0.1, 0.0, 0.2])
    expected = [spearmanr([0.5, 0.3, 0.2], [0.2, 0.7, 0.1]).statistic, spearmanr([2, 7, 1], [6, 4, 0]).statistic]
    assert summary.agreement["rank_correlation"].tolist() == pytest.approx(expected)


def test_a_model_without_importance_has_none(results: dict) -> None:
    none = replace(results["lightgbm", "MFE"], importance=results["lightgbm", "MFE"].importance.iloc[:0])
    summary = summarise([none])
    assert not len(summary.importance)
    assert not len(summary.agreement)


def test_the_band_holds_resampled_growths(summary: Summary, results: dict) -> None:
    band = summary.bands.query("target == 'y_will_peak'")
    returns = results["lightgbm", "y_will_peak"].returns.query("model == 'lightgbm'")["net_return"].to_numpy()
    assert (band["low"] < band["high"]).all()
    first = band.iloc[0]
    assert first["low"] >= 1 + returns.min()
    assert first["high"] <= 1 + returns.max()
    growth = np.log(band["high"].iloc[-1] / band["low"].iloc[-1])
    # Of independent returns the width is 2 x 1.96 deviations of their sum; these hardly depend on one another.
    assert growth == pytest.approx(2 * 1.96 * np.log1p(returns).std() * np.sqrt(len(returns)), rel=0.35)


def test_calibration_counts_every_labelled_row(summary: Summary, results: dict) -> None:
    for model, target in results:
        rows = results[model, target].predictions.query("model == @model and fold >= 0").dropna(subset="y")
        bins = summary.calibration.query("target == @target and model == @model")
        assert bins["rows"].sum() == len(rows)
        mean = np.average(bins["observed"].astype(float), weights=bins["rows"].astype(float))
        assert mean == pytest.approx(rows["y"].mean())
        assert bins["low"].isna().all() == (target != "y_will_peak")


def test_every_table_has_the_baselines(summary: Summary) -> None:
    for frame in (summary.symbols, summary.years, summary.regimes, summary.costs, summary.fold_scores):
        assert {"mean", "vol_ratio", "ridge", "buy_and_hold"} <= set(frame.query("target == 'fwd_ret_5'")["model"])
    cost = summary.costs.query("target == 'fwd_ret_5' and model == 'lightgbm'").set_index("cost_bps")["sharpe"]
    assert cost.is_monotonic_decreasing
    assert cost.loc[5.0] == pytest.approx(row_of(summary, "lightgbm", "fwd_ret_5")["sharpe"])


# ---- which results go together --------------------------------------------------------------------------------------


def test_names_stay_apart(results: dict) -> None:
    one = results["lightgbm", "fwd_ret_5"]
    settings = one.manifest["settings"]
    by_symbol = replace(one, manifest=one.manifest | {"settings": settings | {"scope": "symbol"}})
    twice = summarise([one, one]).leaderboard
    assert set(twice.query("kind == 'model'")["model"]) == {"lightgbm", "lightgbm #2"}
    assert (twice["model"] == "ridge").sum() == 1
    both = summarise([one, by_symbol]).leaderboard
    assert set(both.query("kind == 'model'")["model"]) == {"lightgbm (pooled)", "lightgbm (symbol)"}
    assert {"ridge (pooled)", "ridge (symbol)", "buy_and_hold"} <= set(both["model"])


def test_a_missing_fold_is_told_and_costs_no_baseline(results: dict) -> None:
    one, two = results["lightgbm", "fwd_ret_5"], results["xgboost", "fwd_ret_5"]
    status = one.folds["status"].where(one.folds["fold"] != 1, "failed")
    short = replace(without_fold(one, 1), folds=one.folds.assign(status=status))
    summary = summarise([short, two])
    assert "lightgbm on fwd_ret_5: 1 of 7 folds are missing, see Folds" in summary.notes
    scores = summary.fold_scores
    assert set(scores.loc[scores["fold"] == 1, "model"]) >= {"ridge", "xgboost"}
    assert "lightgbm" not in set(scores.loc[scores["fold"] == 1, "model"])


@pytest.mark.parametrize(
    ("change", "word"),
    [({"data": "other"}, "data"), ({"backtest": {}}, "backtest"), ({"settings": {"train_days": 1}}, "train_days")],
)
def test_unlike_results_are_refused(results: dict, change: dict, word: str) -> None:
    one = results["lightgbm", "fwd_ret_5"]
    if "settings" in change:
        change = {"settings": one.manifest["settings"] | change["settings"]}
    with pytest.raises(DataError, match=f"differ in {word}; one report compares"):
        summarise([one, replace(one, manifest=one.manifest | change)])


def test_nothing_is_no_report() -> None:
    with pytest.raises(ConfigError, match="there is no result"):
        summarise([])


def test_a_short_walk_says_what_it_cannot_know(panel: pd.DataFrame, tmp_path: Path) -> None:
    short = WalkForwardEngine(panel.query("symbol == 'A'").iloc[:150], 120, 12, 12, min_train_samples=50)
    summary = summarise([short.run("lightgbm", CONFIG | {"min_data_in_leaf": 10}, target="fwd_ret_5")])
    row = row_of(summary, "lightgbm", "fwd_ret_5")
    assert np.isnan(row["sharpe_low"])
    assert "fewer than 8 blocks" in row["reason"]
    assert np.isnan(row["dm_p"])
    assert np.isnan(row["t_statistic"])
    assert not len(summary.bands)


# ---- the report of one result ---------------------------------------------------------------------------------------


def test_results_write_their_report(results: dict, tmp_path: Path) -> None:
    result = results["lightgbm", "y_will_peak"]
    page = result.report(tmp_path / "deep" / "walk.html")
    assert page == tmp_path / "deep" / "walk.html"
    assert page.with_suffix(".md").read_text(encoding="utf-8").startswith("# walk-forward · lightgbm")
    board = pd.read_csv(tmp_path / "deep" / "walk_tables" / "leaderboard.csv")
    assert board["model"].tolist() == summarise([result]).leaderboard["model"].tolist()
    assert result.report(tmp_path / "deep" / "walk.html").read_bytes() == page.read_bytes()  # an older one is replaced
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="the report cannot be written there"):
        result.report(tmp_path / "file")


def test_bars_in_no_fold_are_not_scored(panel: pd.DataFrame) -> None:
    left = panel["symbol"].eq("A") & panel["session"].between("2016-01-01", "2016-02-28")
    engine = WalkForwardEngine(panel.assign(in_universe=~left), 120, 40, 40, min_train_samples=50)
    result = engine.run("lightgbm", CONFIG, target="fwd_ret_5")
    outside = result.predictions["fold"] < 0
    assert result.predictions.loc[outside, "y"].notna().any()  # where positions end
    summary = summarise([result])
    scores = summary.symbols.query("symbol == 'A' and model == 'lightgbm'").iloc[0]
    rows = result.predictions[~outside].query("symbol == 'A' and model == 'lightgbm'").dropna(subset="y")
    assert scores["rank_ic"] == pytest.approx(spearmanr(rows["y"], rows["prediction"]).statistic)
    assert summary.fold_scores["fold"].min() == 0


def test_losses_are_those_of_the_rows(traded: Contest) -> None:
    known = traded.rows[traded.rows["y"].notna() & traded.rows["prediction"].notna()]
    assert known["loss"].to_numpy() == pytest.approx(((known["y"] - known["prediction"]) ** 2).to_numpy())
    assert traded.rows.loc[traded.rows["fold"] < 0, "y"].isna().all()


def test_what_nobody_trades_has_a_report_of_its_own(results: dict, tmp_path) -> None:
    page = results["lightgbm", "MFE"].report(tmp_path)
    assert "Nothing is traded" in page.read_text()
    board = pd.read_csv(tmp_path / "report_tables" / "leaderboard.csv")
    assert board[["psr", "dsr", "sharpe"]].isna().all(axis=None)
