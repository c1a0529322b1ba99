from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.estimator_checks import parametrize_with_checks

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import Dataset, RowInfo
from TRAINING.model_fun import trainer_class
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.context import predict_with_context, rows_and_context, with_context
from TRAINING.model_fun.nets.sequence_estimators import Runs, SequenceClassifier, SequenceRegressor
from TRAINING.model_fun.out_of_fold import predict_out_of_fold

SEQUENCE_MODELS = ("cnn1d", "lstm", "transformer")
QUICK = {"window": 3, "epochs": 12, "batch_size": 32, "learning_rate": 0.03, "weight_decay": 0.01, "dropout": 0.0}
LAG = 5
each_model = pytest.mark.parametrize("model", SEQUENCE_MODELS)

ORDER = "an answer depends on the rows before its row, which are others in a permuted table or a part of it"
ORDER_DEPENDENT = {
    "check_methods_sample_order_invariance": ORDER,
    "check_methods_subset_invariance": ORDER,
    "check_sample_weight_equivalence_on_dense_data": "a repeated row is a further row of the series",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks(
    [SequenceRegressor("cnn1d", **QUICK), SequenceClassifier("cnn1d", **QUICK)],
    expected_failed_checks=lambda estimator: ORDER_DEPENDENT,
)
def test_scikit_learn_accepts_the_estimators(estimator, check) -> None:
    check(estimator)


def series(symbols: str, rows: int, seed: int = 0, lag: int = LAG) -> tuple[pd.DataFrame, pd.Series]:
    """A panel in which y is what one feature was ``lag`` bars ago, and some noise."""
    parts = []
    for number, symbol in enumerate(symbols):
        random = np.random.default_rng([seed, number])
        values = random.normal(size=(rows, 4)).astype(np.float32)
        index = pd.MultiIndex.from_product([[symbol], pd.bdate_range("2015-01-01", periods=rows, tz="UTC")])
        part = pd.DataFrame(values, index.set_names(["symbol", "timestamp"]), ["a", "signal", "b", "c"])
        past = np.r_[random.normal(size=lag), values[:-lag, 1]]
        parts.append(part.assign(y=past + 0.3 * random.normal(size=rows)))
    table = pd.concat(parts)
    return table.drop(columns="y"), table["y"].rename("outcome")


def trained(model: str, X: pd.DataFrame, y: pd.Series, *validation, rows=None, **overrides) -> Trainer:
    config = load_model_config(model, variant="smoke", overrides=overrides)
    return trainer_class(model)(config).train(X, y, *validation, rows=rows)


@each_model
def test_what_lies_bars_back_is_learnt_and_an_mlp_cannot(model: str) -> None:
    X, y = series("AB", 700)
    late = (X.groupby(level=0).cumcount() >= 500).to_numpy()
    settings = {"epochs": 40, "early_stopping_rounds": 0}
    if model == "cnn1d":
        settings["layers"] = 2  # one block of window 5 reads back 4 rows
    trainer = trained(model, X[~late], y[~late], window=8, **settings)
    mlp = trained("mlp", X[~late], y[~late], epochs=40, early_stopping_rounds=0)
    scores = [np.corrcoef(each.predict(X)[late], y[late])[0, 1] for each in (trainer, mlp)]
    assert scores[0] > 0.6 > 0.2 > scores[1]
    assert trainer.get_feature_importance().index[0] == "signal"


@each_model
def test_later_rows_change_no_earlier_prediction(model: str) -> None:
    X, y = series("AB", 120)
    trainer = trained(model, X, y, epochs=2)
    before = trainer.predict(X)
    place = X.groupby(level=0).cumcount().to_numpy()
    for cut in (7, 60, 119):
        later = X.copy()
        later[place >= cut] = 100 * np.random.default_rng(cut).normal(size=((place >= cut).sum(), 4)).astype(np.float32)
        after = trainer.predict(later)
        np.testing.assert_array_equal(after[place < cut], before[place < cut])
        assert (after[place == cut] != before[place == cut]).all()
        cut_off = trainer.predict(X[place < cut])
        np.testing.assert_allclose(cut_off, before[place < cut], rtol=0, atol=1e-6)


@each_model
def test_other_symbols_and_the_order_of_rows_change_nothing(model: str) -> None:
    X, y = series("AB", 120)
    trainer = trained(model, X, y, epochs=2)
    whole = pd.Series(trainer.predict(X), X.index)
    alone = trainer.predict(X.loc[["B"]])
    np.testing.assert_allclose(alone, whole["B"], rtol=0, atol=1e-6)
    by_time = X.sort_index(level=["timestamp", "symbol"])
    np.testing.assert_array_equal(trainer.predict(by_time), whole[by_time.index])
    shuffled = np.random.default_rng(0).permutation(len(X))
    again = trained(model, X.iloc[shuffled], y.iloc[shuffled], epochs=2)
    np.testing.assert_array_equal(again.predict(X), whole)


@each_model
def test_with_context_a_part_is_predicted_as_in_the_whole(model: str) -> None:
    X, y = series("AB", 100)
    X = X.sort_index(level=["timestamp", "symbol"])
    trainer = trained(model, X, y.loc[X.index], epochs=2)
    assert trainer.context_rows == 4
    rows = np.arange(90, 130)
    whole = trainer.predict_score(X)
    np.testing.assert_allclose(predict_with_context(trainer, X, rows), whole[rows], rtol=0, atol=1e-6)
    assert np.abs(trainer.predict_score(X.iloc[rows])[:6] - whole[rows][:6]).max() > 1e-4


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_rows_and_their_context_are_those_of_a_loop(data: st.DataObject) -> None:
    n, count = data.draw(st.integers(1, 25)), data.draw(st.integers(0, 6))
    symbols = np.array(data.draw(st.lists(st.sampled_from("AB"), min_size=n, max_size=n)))
    first = data.draw(st.integers(0, n - 1))
    rows = np.array(sorted(data.draw(st.sets(st.integers(first, n - 1), min_size=1))))
    index = pd.MultiIndex.from_arrays([symbols, pd.date_range("2020-01-01", periods=n, tz="UTC")])
    X = pd.DataFrame({"a": np.arange(n)}, index)
    expected = set(rows.tolist())
    for row in rows:
        before = [i for i in range(first, row) if symbols[i] == symbols[row]]
        expected |= set(before[len(before) - min(count, len(before)) :])
    taken, own = rows_and_context(X, rows, count, first)
    assert taken.tolist() == sorted(expected)
    assert taken[own].tolist() == rows.tolist()


def test_context_has_no_label_and_no_weight() -> None:
    X, y = series("A", 30)
    weight = np.linspace(1, 2, 30)
    data = Dataset(X, y, RowInfo(np.full(30, np.datetime64("2030-01-01", "ns")), weight))
    rows = np.arange(20, 25)
    part = with_context(data.take(rows), data, rows, 4)
    assert part.y.isna().tolist() == [True] * 4 + [False] * 5
    assert part.rows.sample_weight.tolist() == [0.0] * 4 + weight[20:25].tolist()
    assert with_context(data.take(rows), data, rows, 0).X.equals(X.iloc[rows])


@each_model
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_labels_of_context_are_not_learnt_from_and_its_features_are(model: str, task: str) -> None:
    X, y = series("A", 160)
    y = y if task == "regression" else (y > 0).astype(float)
    context = np.arange(len(X)) < 60
    hidden = y.mask(context)
    first = trained(model, X, hidden, X, hidden, epochs=3).predict_score(X)
    moved = X.copy()
    moved.iloc[10:50] += 5.0  # no window of a labelled row reaches there
    np.testing.assert_array_equal(trained(model, moved, hidden, X, hidden, epochs=3).predict_score(X), first)
    near = X.copy()
    near.iloc[56:60] += 5.0
    assert not np.array_equal(trained(model, near, hidden, X, hidden, epochs=3).predict_score(X), first)


def test_no_window_goes_over_a_symbol_or_a_long_gap() -> None:
    X, _ = series("AB", 10)
    times = X.index.get_level_values("timestamp")
    late = times + pd.to_timedelta(np.where(np.arange(20) % 10 >= 6, 30, 0), unit="D")
    gapped = X.set_axis(pd.MultiIndex.from_arrays([X.index.get_level_values(0), late]))
    assert Runs.of(gapped, 20, 10).starts.tolist() == [0] * 6 + [6] * 4 + [10] * 6 + [16] * 4
    assert Runs.of(gapped, 20, 40).starts.tolist() == [0] * 10 + [10] * 10
    assert Runs.of(X, 20, 1).starts.tolist() == [0] * 10 + [10] * 10, "a weekend is no gap"
    by_time = gapped.sort_index(level=1)
    runs = Runs.of(by_time, 20, 10)
    assert by_time.iloc[runs.order].index.equals(gapped.index)
    assert runs.starts.tolist() == Runs.of(gapped, 20, 10).starts.tolist()


@each_model
def test_a_window_longer_than_the_rows_is_named(model: str) -> None:
    X, y = series("A", 40)
    with pytest.raises(
        DataError, match=rf"{model}: 40 training rows, but no split is possible below 50; .* lower window"
    ):
        trained(model, X, y, window=50)
    X, y = series("ABC", 40)
    with pytest.raises(DataError, match=f"{model}: no training row has a window of 50 rows, the longest .* is 40"):
        trained(model, X, y, window=50)
    with pytest.raises(DataError, match=f"{model}: no validation row has a window of 20 rows"):
        trained(model, X, y, X[:10], y[:10], window=20)
    with pytest.raises(DataError, match="y_train has no label in 120 rows"):
        trained(model, X, y * np.nan)


def test_attention_heads_that_do_not_fit_are_a_fault_of_the_configuration() -> None:
    X, y = series("A", 60)
    with pytest.raises(ConfigError, match=r"multiple of 2 \* attention_heads; got 16 for 3"):
        trained("transformer", X, y, attention_heads=3)


@each_model
def test_out_of_fold_blocks_get_their_context(model: str) -> None:
    X, y = series("AB", 160)
    config = load_model_config(model, variant="smoke", overrides={"epochs": 2})
    seen: list[int] = []

    class Watched(trainer_class(model)):
        def predict_score(self, X: pd.DataFrame) -> np.ndarray:
            seen.append(len(X))
            return super().predict_score(X)

    score = predict_out_of_fold(lambda: Watched(config), X, y, blocks=3)
    assert np.isnan(score).sum() == 80
    assert seen == [80 + 2 * 4] * 3


def test_memory_is_shared_whatever_its_order() -> None:
    from TRAINING.model_fun.nets.sequence_estimators import _shared

    for table in (np.zeros((50, 3), np.float32), np.zeros((3, 50), np.float32).T):
        assert np.shares_memory(_shared(table).numpy(), table)
    frame = pd.DataFrame(np.zeros((50, 3), np.float32))
    frozen = frame.to_numpy()
    frozen.flags.writeable = False
    assert _shared(frozen).shape == (50, 3)
