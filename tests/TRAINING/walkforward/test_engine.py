"""The walk-forward engine: against an obvious loop over LightGBM, and what it must never do."""

from __future__ import annotations

import lightgbm
import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_model_config, load_run_config
from CONFIG.errors import BarzooError, ConfigError, DataError, IntegrityError
from TRAINING.evaluation.backtest import backtest
from TRAINING.walkforward import WalkForwardEngine, WalkForwardResults

WINDOWS = {"train_days": 120, "test_days": 30, "step_days": 20, "min_train_samples": 100}


@pytest.fixture
def config(small) -> dict:
    return load_model_config("lightgbm", overrides=small)


def model_rows(results: WalkForwardResults, name: str = "lightgbm") -> pd.DataFrame:
    return results.predictions[results.predictions["model"] == name]


def obvious_loop(panel: pd.DataFrame, config: dict, target: str, embargo: int = 0, mode: str = "rolling") -> pd.Series:
    """Predictions of a plain loop over dates, written for its plainness."""
    panel = panel.sort_values(["timestamp", "symbol"]).reset_index(drop=True)
    days, day = sorted(panel["session"].unique()), panel["session"]
    ends = panel["label_end"].dt.tz_localize(None)
    known = panel["label_end"].notna() & panel[target].notna()
    names, found = ["a", "b", "c", "vol_ratio"], []
    begin, starts = 0, []
    while begin + 120 + 30 <= len(days):
        starts.append(begin)
        begin += 20
    for begin in starts:
        first, cut = days[begin] if mode == "rolling" else days[0], begin + 120
        train = panel[known & (day >= first) & (day < days[cut]) & (ends < days[cut - embargo])]
        train_days = sorted(train["session"].unique())
        tail_start = train_days[-round(0.2 * len(train_days))]
        head = train[(train["session"] < tail_start) & (train["label_end"].dt.tz_localize(None) < tail_start)]
        tail = train[train["session"] >= tail_start]
        length = 30 if begin == starts[-1] else 20
        test = panel[(day >= days[cut]) & (day <= days[cut + length - 1])]
        kind = lightgbm.LGBMClassifier if target.startswith("y_") else lightgbm.LGBMRegressor
        model = kind(
            n_estimators=20, learning_rate=0.1, min_child_samples=10, num_leaves=config["num_leaves"],
            max_depth=config["max_depth"], colsample_bytree=config["feature_fraction"],
            subsample=config["bagging_fraction"], subsample_freq=config["bagging_freq"],
            reg_alpha=config["reg_alpha"], reg_lambda=config["reg_lambda"], max_bin=config["max_bin"],
            random_state=config["seed"], n_jobs=1, deterministic=True, force_col_wise=config["force_col_wise"],
            verbose=-1,
        )  # fmt: skip
        if config["early_stopping_rounds"]:
            stop = lightgbm.early_stopping(config["early_stopping_rounds"], verbose=False)
            model.fit(head[names], head[target], eval_X=(tail[names],), eval_y=(tail[target],), callbacks=[stop])
        else:
            model.fit(train[names], train[target])
        score = model.predict_proba(test[names])[:, 1] if target.startswith("y_") else model.predict(test[names])
        found.append(test[["symbol", "timestamp"]].assign(prediction=score))
    return pd.concat(found).set_index(["symbol", "timestamp"])["prediction"].sort_index()


@pytest.mark.parametrize(
    ("target", "embargo", "mode", "stops"),
    [("fwd_ret_5", 0, "rolling", 5), ("y_will_peak", 0, "rolling", 5), ("fwd_ret_5", 7, "rolling", 5),
     ("fwd_ret_5", 0, "expanding", 5), ("fwd_ret_5", 0, "rolling", 0)],
)  # fmt: skip
def test_predictions_are_those_of_an_obvious_loop(panel, config, target, embargo, mode, stops):
    config = config | {"early_stopping_rounds": stops}
    engine = WalkForwardEngine(panel, **WINDOWS, embargo_sessions=embargo, mode=mode)
    results = engine.run("lightgbm", config, target=target)
    rows = model_rows(results)
    rows = rows[rows["fold"] >= 0].set_index(["symbol", "timestamp"])["prediction"].sort_index()
    expected = obvious_loop(panel, config, target, embargo, mode)
    assert rows.index.equals(expected.index)
    assert rows.to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-12)


def test_no_prediction_sees_what_comes_after_it(panel, config):
    results = WalkForwardEngine(panel, **WINDOWS).run("lightgbm", config)
    for day in ("2015-07-20", "2015-11-02", "2016-03-01"):
        later = panel["timestamp"] >= pd.Timestamp(day, tz="UTC")
        changed, random = panel.copy(), np.random.default_rng(0)
        changed.loc[later, ["a", "b", "c", "vol_ratio"]] = random.normal(size=(later.sum(), 4)).astype(np.float32)
        changed.loc[later, "close"] *= 3
        # A label known from this day on is made of changed bars too.
        unknown = panel["label_end"] >= pd.Timestamp(day, tz="UTC")
        changed.loc[unknown, "fwd_ret_5"] = random.normal(size=unknown.sum())
        rows, other = model_rows(results), model_rows(WalkForwardEngine(changed, **WINDOWS).run("lightgbm", config))
        before = rows["timestamp"] < pd.Timestamp(day, tz="UTC")
        columns = ["symbol", "timestamp", "prediction", "signal", "position", "asset_return", "net_return"]
        pd.testing.assert_frame_equal(
            rows.loc[before, columns].reset_index(drop=True),
            other.loc[other["timestamp"] < pd.Timestamp(day, tz="UTC"), columns].reset_index(drop=True),
        )


@pytest.mark.parametrize("scope", ["pooled", "symbol"])
def test_files_do_not_depend_on_workers_or_the_order_of_rows(panel, config, tmp_path, scope):
    windows = WINDOWS | {"scope": scope}
    shuffled = panel.sample(frac=1, random_state=1)
    WalkForwardEngine(panel, **windows).run("lightgbm", config).save(tmp_path / "one")
    WalkForwardEngine(shuffled, **windows).run("lightgbm", config, jobs=2).save(tmp_path / "two")
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert names == ["folds.parquet", "importance.parquet", "manifest.json", "metrics.json", "predictions.parquet",
                     "returns.parquet"]  # fmt: skip
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_results_come_back_from_their_files(panel, config, tmp_path):
    results = WalkForwardEngine(panel, **WINDOWS).run("lightgbm", config, ["sharpe", "rank_ic"])
    again = WalkForwardResults.load(results.save(tmp_path / "results"))
    for name in ("folds", "predictions", "returns", "metrics", "importance"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(results, name))
    assert again.manifest == results.manifest
    assert list(results.metrics) == ["sharpe", "rank_ic"]
    assert list(results.metrics.index) == ["lightgbm", "mean", "vol_ratio", "ridge", "buy_and_hold"]
    assert results.metrics.loc["lightgbm", "rank_ic"] > 0.15  # what was planted
    assert np.isnan(results.metrics.loc["buy_and_hold", "rank_ic"])
    results.save(tmp_path / "results")  # a walk-forward may be replaced, anything else not
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="exists, and holds no walk-forward"):
        results.save(tmp_path / "other")
    path = tmp_path / "results" / "metrics.json"
    path.write_bytes(path.read_bytes().replace(b"sharpe", b"sharpy"))
    with pytest.raises(IntegrityError):
        WalkForwardResults.load(tmp_path / "results")


def test_money_is_one_backtest_over_the_stitched_bars(panel, config):
    results = WalkForwardEngine(panel, **WINDOWS).run("lightgbm", config)
    settings = load_run_config("backtest")
    for name, horizon in (("lightgbm", 5), ("ridge", 5), ("buy_and_hold", 1)):
        for _, rows in model_rows(results, name).groupby("symbol"):
            assert (rows["fold"] >= 0).all()
            signal = np.ones(len(rows)) if name == "buy_and_hold" else np.sign(rows["prediction"])
            expected = backtest(rows["close"], signal, horizon, settings["execution_lag"], settings["cost_bps"])
            assert rows["net_return"].to_numpy() == pytest.approx(expected.net_return, abs=1e-15)
    returns = results.returns[results.returns["model"] == "lightgbm"].set_index("session")["net_return"]
    mean = model_rows(results).groupby("session")["net_return"].mean()
    assert returns.to_numpy() == pytest.approx(mean.to_numpy(), abs=1e-15)


def test_folds_with_too_few_rows_are_listed_and_the_others_go_on(panel, config):
    results = WalkForwardEngine(panel, **WINDOWS | {"min_train_samples": 260}).run("lightgbm", config)
    skipped = results.folds["status"] == "skipped"
    assert skipped.any()
    assert not skipped.all()
    assert (results.folds.loc[skipped, "window_rows"] < 260).all()
    assert results.folds.loc[skipped, "reason"].str.contains("labelled rows in the training window; 260 are").all()
    with pytest.raises(DataError, match=r"none of 13 folds has min_train_samples \(9999\).* the most is 360"):
        WalkForwardEngine(panel, **WINDOWS | {"min_train_samples": 9999}).run("lightgbm", config)


def test_a_model_per_symbol_skips_a_symbol_that_has_not_begun(panel, config):
    results = WalkForwardEngine(panel, **WINDOWS, scope="symbol").run("lightgbm", config)
    folds = results.folds.set_index(["fold", "symbol"])
    assert folds.loc[(0, "A"), "status"] == "done"
    assert folds.loc[(0, "C"), "status"] == "skipped"
    alone = WalkForwardEngine(panel[panel["symbol"] == "A"], **WINDOWS).run("lightgbm", config)
    rows, expected = model_rows(results), model_rows(alone)
    assert rows.loc[rows["symbol"] == "A", "prediction"].to_numpy() == pytest.approx(expected["prediction"].to_numpy())


def test_a_fold_with_one_class_fails_and_says_so(panel, config):
    panel = panel.copy()
    early = panel["timestamp"] < panel["timestamp"].min() + pd.Timedelta(170, "D")
    panel.loc[early & panel["y_will_peak"].notna(), "y_will_peak"] = 0.0
    results = WalkForwardEngine(panel, **WINDOWS).run("lightgbm", config, target="y_will_peak")
    first = results.folds.iloc[0]
    assert first["status"] == "failed"
    assert "one class only" in first["reason"]
    assert (results.folds["status"] == "done").any()


def test_rows_outside_the_universe_are_neither_trained_on_nor_traded(panel, config):
    member = (panel["symbol"] != "B") | (panel["timestamp"] < panel["timestamp"].min() + pd.Timedelta(300, "D"))
    results = WalkForwardEngine(panel.assign(in_universe=member), **WINDOWS).run("lightgbm", config)
    rows = model_rows(results)
    left = rows[(rows["symbol"] == "B") & (rows["timestamp"] >= panel["timestamp"].min() + pd.Timedelta(300, "D"))]
    assert left["prediction"].isna().all()
    assert len(left) <= 8
    garbage = panel.copy()
    garbage.loc[~member, ["a", "b", "c", "fwd_ret_5"]] = 1e3
    other = WalkForwardEngine(garbage.assign(in_universe=member), **WINDOWS).run("lightgbm", config)
    pd.testing.assert_series_equal(rows["prediction"], model_rows(other)["prediction"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda p: p.drop(columns="close"), DataError, "no column 'close'"),
        (lambda p: p.drop(columns="label_end"), DataError, "no column 'label_end'"),
        (lambda p: p.drop(columns="timestamp"), DataError, "no timestamps"),
        (lambda p: p.assign(timestamp=p["timestamp"].astype(str)), DataError, "timestamp holds object"),
        (lambda p: pd.concat([p, p.iloc[:3]]), DataError, "3 rows repeat a symbol and timestamp, the first 'A'"),
        (lambda p: p.assign(close=0.0), DataError, "close must be a price above 0; got 0.0 for 'A'"),
        (lambda p: p.assign(a="text"), DataError, "'a' holds object"),
        (lambda p: p.iloc[:140], DataError, "one fold needs 150 sessions .* the data have 140"),
        (lambda p: p.iloc[:0], DataError, "0 rows"),
        (
            lambda p: p[["symbol", "timestamp", "close", "label_end", "fwd_ret_5"]],
            DataError,
            "0 features and 1 targets",
        ),
        (lambda p: [1, 2], DataError, "must be a labeled DataFrame or a folder, got list"),
        (lambda p: "no/such/folder", DataError, "no/such/folder: no labeled table"),
    ],
)
def test_data_that_cannot_be_used(panel, change, error, message):
    with pytest.raises(error, match=message):
        WalkForwardEngine(change(panel), **WINDOWS)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ({"model_name": "lightgmb"}, "no model 'lightgmb'; did you mean 'lightgbm'"),
        ({"target": "fwd_ret_6"}, "no target 'fwd_ret_6' in the table; did you mean 'fwd_ret_5'"),
        ({"metrics": ["sharp"]}, "no metric 'sharp' of a regression target; did you mean 'sharpe'"),
        ({"metrics": ["auc"]}, "no metric 'auc' of a regression target; it is one of binary targets"),
        ({"metrics": "sharpe"}, r"expected a list of names, got 'sharpe'; write \['sharpe'\]"),
        ({"config": {"n_estimatorz": 3}}, "n_estimatorz"),
        ({"config": {"task": "binary"}}, "asks for task: binary, but fwd_ret_5 is regression"),
    ],
)
def test_a_run_that_makes_no_sense(panel, run, message):
    with pytest.raises(BarzooError, match=message):
        WalkForwardEngine(panel, **WINDOWS).run(**{"model_name": "lightgbm"} | run)


def test_a_training_window_must_be_longer_than_the_horizon(panel):
    windows = {"train_days": 5, "test_days": 30, "step_days": 20, "min_train_samples": 2}
    with pytest.raises(ConfigError, match="train_days must be above the horizon of fwd_ret_5, 5 bars; got 5"):
        WalkForwardEngine(panel, **windows).run("lightgbm")


def test_what_data_may_look_like(panel, config, tmp_path):
    expected = model_rows(WalkForwardEngine(panel, **WINDOWS).run("lightgbm", config))
    indexed = panel.set_index(["symbol", "timestamp"])
    pd.testing.assert_frame_equal(model_rows(WalkForwardEngine(indexed, **WINDOWS).run("lightgbm", config)), expected)
    for symbol, rows in panel.groupby("symbol"):
        rows.drop(columns="symbol").to_parquet(tmp_path / f"{symbol}.parquet")
    of_folder = model_rows(WalkForwardEngine(tmp_path, **WINDOWS).run("lightgbm", config))
    pd.testing.assert_frame_equal(of_folder, expected)
    alone = panel[panel["symbol"] == "A"].drop(columns="symbol")
    one = model_rows(WalkForwardEngine(alone, **WINDOWS).run("lightgbm", config))
    assert set(one["symbol"]) == {""}


def test_data_are_left_as_they_were(panel, config):
    before = panel.copy(deep=True)
    WalkForwardEngine(panel, **WINDOWS).run("lightgbm", config)
    pd.testing.assert_frame_equal(panel, before)
