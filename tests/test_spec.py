"""The blocks of the training guide run as written, with lines before them that make the tables that they name.

``y_train`` is a frame of targets in some blocks and one target in others.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_model_config
from CONFIG.errors import ConfigError
from DATA_PROCESSING.features.build import build_features
from DATA_PROCESSING.labels import build_labels
from TRAINING import model_fun
from TRAINING.model_fun import LightGBMTrainer, XGBoostTrainer

ROOT = Path(__file__).parent.parent
FEATURES = ["log_return_5", "vol_ratio", "rsi_14", "close_position", "hint"]
TARGETS = ["y_will_peak", "TTH", "MDD", "MFE", "fwd_ret_5"]

# ---- Available models -----------------------------------------------------------------------------------------------

MODELS = {
    "LightGBMTrainer": """
from TRAINING.model_fun import LightGBMTrainer
from CONFIG.config_loader import load_model_config

config = load_model_config("lightgbm", variant="conservative")
trainer = LightGBMTrainer(config)
trainer.train(X_train, y_train)
""",
    "XGBoostTrainer": """
config = load_model_config("xgboost", variant="balanced")
trainer = XGBoostTrainer(config)
""",
    "EnsembleTrainer": """
config = load_model_config("ensemble")
trainer = EnsembleTrainer(config)
""",
    "MultiTaskTrainer": """
config = load_model_config("multi_task")
trainer = MultiTaskTrainer(config)
""",
    "MLPTrainer": """
config = load_model_config("mlp", overrides={"epochs": 100})
trainer = MLPTrainer(config)
""",
    "TransformerTrainer": """
config = load_model_config("transformer")
trainer = TransformerTrainer(config)
""",
    "LSTMTrainer": """
config = load_model_config("lstm")
trainer = LSTMTrainer(config)
""",
    "CNN1DTrainer": """
config = load_model_config("cnn1d")
trainer = CNN1DTrainer(config)
""",
    "VAETrainer": """
config = load_model_config("vae")
trainer = VAETrainer(config)
latent = trainer.train(X_train, y_train)  # Returns latent features
""",
    "GANTrainer": """
config = load_model_config("gan")
trainer = GANTrainer(config)
""",
    "GMMRegimeTrainer": """
config = load_model_config("gmm_regime")
trainer = GMMRegimeTrainer(config)
""",
    "NGBoostTrainer": """
config = load_model_config("ngboost")
trainer = NGBoostTrainer(config)
""",
    "QuantileLightGBMTrainer": """
config = load_model_config("quantile_lightgbm", overrides={"alpha": 0.5})
trainer = QuantileLightGBMTrainer(config)
""",
}

# ---- Training strategies --------------------------------------------------------------------------------------------

SINGLE_TARGET = """
from TRAINING.strategies import SingleTaskStrategy

strategy = SingleTaskStrategy(
    model_name="lightgbm",
    model_config=load_model_config("lightgbm", variant="conservative")
)

model = strategy.train(
    X_train=X_train,
    y_train=y_train['y_will_peak'],
    X_val=X_val,
    y_val=y_val['y_will_peak']
)
"""

MULTI_TASK = """
from TRAINING.strategies import MultiTaskStrategy

strategy = MultiTaskStrategy(
    model_name="multi_task",
    target_names=["TTH", "MDD", "MFE"],
    loss_weights=[1.0, 0.5, 0.5]
)

model = strategy.train(
    X_train=X_train,
    y_train=y_train[["TTH", "MDD", "MFE"]],
    X_val=X_val,
    y_val=y_val[["TTH", "MDD", "MFE"]]
)
"""

CASCADE = """
from TRAINING.strategies import CascadeStrategy

strategy = CascadeStrategy(
    models=["lightgbm", "xgboost", "ensemble"]
)

final_model = strategy.train(X_train, y_train, X_val, y_val)
"""

# ---- Walk-forward ---------------------------------------------------------------------------------------------------

WALK_FORWARD = """
from TRAINING.walkforward import WalkForwardEngine

engine = WalkForwardEngine(
    data=df_labeled,
    train_days=252,      # 1 year training
    test_days=63,        # 1 quarter testing
    step_days=21,        # Roll forward monthly
    min_train_samples=1000
)

results = engine.run(
    model_name="lightgbm",
    config=load_model_config("lightgbm", variant="conservative"),
    metrics=["sharpe", "max_drawdown", "hit_rate"]
)
"""

# ---- Feature selection ----------------------------------------------------------------------------------------------

IMPORTANCE_SELECTION = """
trainer = LightGBMTrainer()
trainer.train(X_train, y_train)

importance = trainer.get_feature_importance()
top_features = importance.head(60).index.tolist()
X_train_selected = X_train[top_features]
"""

RECURSIVE_ELIMINATION = """
from sklearn.feature_selection import RFECV

selector = RFECV(
    estimator=trainer.model,
    step=1,
    cv=5,
    scoring='neg_mean_squared_error'
)
X_train_selected = selector.fit_transform(X_train, y_train)
"""

# ---- Hyperparameter tuning ------------------------------------------------------------------------------------------

MANUAL_TUNING_FILE = """
# CONFIG/model_config/lightgbm.yaml
variants:
  my_experiment:
    n_estimators: 2000
    learning_rate: 0.02
    max_depth: 6
    min_data_in_leaf: 200
"""

MANUAL_TUNING = """
config = load_model_config("lightgbm", variant="my_experiment")
"""

GRID_SEARCH = """
from sklearn.model_selection import GridSearchCV

param_grid = {
    'n_estimators': [1000, 1500, 2000],
    'learning_rate': [0.01, 0.03, 0.05],
    'max_depth': [4, 5, 6]
}

grid = GridSearchCV(
    estimator=trainer.model,
    param_grid=param_grid,
    cv=5,
    scoring='neg_mean_squared_error'
)
grid.fit(X_train, y_train)
"""

# ---- Evaluation -----------------------------------------------------------------------------------------------------

MODEL_EVALUATION = """
y_pred = trainer.predict(X_val)

from sklearn.metrics import mean_squared_error, r2_score, classification_report

mse = mean_squared_error(y_val, y_pred)
r2 = r2_score(y_val, y_pred)

# For classification
report = classification_report(y_val, y_pred)
"""

FEATURE_IMPORTANCE = """
importance = trainer.get_feature_importance(target="y_will_peak")
print(importance.head(20))
"""

LEARNING_CURVES = """
import matplotlib.pyplot as plt

history = trainer.model.evals_result()
plt.plot(history['validation_0']['rmse'], label='Train')
plt.plot(history['validation_1']['rmse'], label='Val')
plt.legend()
plt.show()
"""

# ---- Saving ---------------------------------------------------------------------------------------------------------

SAVE_MODEL = """
import joblib

joblib.dump(trainer.model, "models/lightgbm_AAPL_2025-11-13.pkl")

import json
with open("models/lightgbm_AAPL_2025-11-13_config.json", "w") as f:
    json.dump(trainer.config, f, indent=2)
"""

LOAD_MODEL = """
model = joblib.load("models/lightgbm_AAPL_2025-11-13.pkl")
y_pred = model.predict(X_new)
"""


def run(block: str, **names: object) -> SimpleNamespace:
    """Run a block in a namespace of these names, and return what it holds then."""
    exec(compile(block, "<the training guide>", "exec"), names)  # noqa: S102
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def table(make_bars) -> pd.DataFrame:
    """Labeled rows of four symbols, 600 sessions each, the same of all; ``hint`` says something of what comes."""
    tables = []
    for seed, symbol in enumerate(("A", "B", "C", "D")):
        bars, random = make_bars(660, seed), np.random.default_rng(seed)
        rows = pd.concat(
            [bars, build_features(bars), build_labels(bars, horizon=5, barrier=1.0, vol_window=20)], axis=1
        )
        hint = rows["fwd_ret_5"].fillna(0) + random.normal(0, 0.03, len(rows))
        tables.append(rows.assign(symbol=symbol, hint=hint)[60:])
    names = ["symbol", *bars, *FEATURES, *TARGETS, "label_end"]
    return pd.concat(tables, ignore_index=True)[names]


@pytest.fixture(scope="module")
def split(table) -> SimpleNamespace:
    """``X_train, y_train, X_val, y_val`` of all symbols, purged; the y are frames of all targets."""
    rows = table.set_index(["symbol", "timestamp"])
    sessions = rows.index.get_level_values("timestamp").unique()
    train, later = (rows[rows.index.isin(days, "timestamp")] for days in (sessions[:400], sessions[405:-5]))
    return SimpleNamespace(X_train=train[FEATURES], y_train=train[TARGETS], X_val=later[FEATURES], y_val=later[TARGETS])


def of_target(split: SimpleNamespace, target: str) -> dict[str, pd.DataFrame | pd.Series]:
    """The same with one target."""
    return vars(split) | {"y_train": split.y_train[target], "y_val": split.y_val[target]}


# ---- Available models -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trainer", MODELS)
def test_a_trainer_is_made_from_its_configuration(split, trainer: str) -> None:
    names = {trainer: getattr(model_fun, trainer), "load_model_config": load_model_config}
    few = {"X_train": split.X_train[:200], "y_train": split.y_train["fwd_ret_5"][:200]}
    made = run(MODELS[trainer], **names, **few)
    assert made.trainer.config == made.config
    if trainer == "VAETrainer":
        assert made.latent.shape == (200, made.config["latent_dim"])


def test_a_single_quantile(split) -> None:
    trainer = run(
        MODELS["QuantileLightGBMTrainer"],
        QuantileLightGBMTrainer=model_fun.QuantileLightGBMTrainer,
        load_model_config=load_model_config,
    ).trainer
    of_return = of_target(split, "fwd_ret_5")
    trainer.train(of_return["X_train"], of_return["y_train"], of_return["X_val"], of_return["y_val"])
    assert trainer.predict_quantiles(split.X_val).columns.tolist() == [0.5]


# ---- Training strategies --------------------------------------------------------------------------------------------


def test_single_target(split) -> None:
    model = run(SINGLE_TARGET, load_model_config=load_model_config, **vars(split)).model
    assert (model.task, model.target, set(model.history)) == ("binary", "y_will_peak", {"train", "validation"})
    assert set(model.predict(split.X_val)) <= {0, 1}


def test_multi_task(split) -> None:
    """One net of all targets; of other models one per target, on which weights are refused: they have no effect."""
    assert split.y_train["TTH"].isna().any(), "missing targets are part of this"
    net = run(MULTI_TASK, **vars(split)).model
    predicted = net.predict(split.X_val)
    assert predicted.shape == (len(split.X_val), 3)
    assert np.isfinite(predicted).all()
    existing = MULTI_TASK.replace('"multi_task"', '"lightgbm"')
    with pytest.raises(ConfigError, match=r"lightgbm trains one model per target, on which \[1.0, 0.5, 0.5\] have no"):
        run(existing, **vars(split))
    model = run(existing.replace("[1.0, 0.5, 0.5]", "[1.0, 1.0, 1.0]"), **vars(split)).model
    assert model.targets == ["TTH", "MDD", "MFE"]
    assert model.predict(split.X_val).shape == (len(split.X_val), 3)
    assert model.trainers["TTH"].predict(split.X_val).min() > 0.5, "bars to a touch, not a share"


@pytest.mark.parametrize("several", [False, True], ids=["one target for all stages", "a target per stage"])
def test_cascade(split, several) -> None:
    names = of_target(split, "fwd_ret_5")
    if several:
        targets = ["y_will_peak", "fwd_ret_5", "fwd_ret_5"]
        names |= {"y_train": split.y_train[targets], "y_val": split.y_val[targets]}
    model = run(CASCADE, **names).final_model
    assert [stage.name for stage in model.stages] == ["lightgbm", "xgboost", "ensemble"]
    assert [stage.target for stage in model.stages] == [
        "y_will_peak" if several else "fwd_ret_5",
        "fwd_ret_5",
        "fwd_ret_5",
    ]
    assert model.stages[-1].features == [*FEATURES, "p_1_lightgbm", "p_2_xgboost"]
    assert np.isfinite(model.predict(split.X_val)).all()


# ---- Walk-forward ---------------------------------------------------------------------------------------------------


def test_walk_forward(table) -> None:
    df_labeled = table.groupby("symbol").tail(340)  # 252 + 63 + 21 sessions, and four more
    results = run(WALK_FORWARD, df_labeled=df_labeled, load_model_config=load_model_config).results
    assert results.folds["status"].tolist() == ["done", "done"]
    assert (results.folds["window_rows"] == 4 * 252).all()
    assert list(results.metrics) == ["sharpe", "max_drawdown", "hit_rate"]
    assert list(results.metrics.index) == ["lightgbm", "mean", "vol_ratio", "ridge", "buy_and_hold"]
    assert results.metrics.loc["lightgbm", "sharpe"] > results.metrics.loc["buy_and_hold", "sharpe"], "the hint"


# ---- Feature selection ----------------------------------------------------------------------------------------------


def test_selection_by_importance(split) -> None:
    selected = run(IMPORTANCE_SELECTION, LightGBMTrainer=LightGBMTrainer, **of_target(split, "fwd_ret_5"))
    assert set(selected.top_features) == set(FEATURES)
    assert selected.top_features[0] == "hint"
    assert selected.importance.sum() == pytest.approx(1)
    assert selected.X_train_selected.columns.tolist() == selected.top_features
    assert selected.importance.is_monotonic_decreasing


def test_recursive_feature_elimination(split) -> None:
    names = of_target(split, "fwd_ret_5")
    trainer = LightGBMTrainer(load_model_config("lightgbm", variant="smoke")).train(names["X_train"], names["y_train"])
    found = run(RECURSIVE_ELIMINATION, trainer=trainer, **names)
    assert found.X_train_selected.shape == (1600, found.selector.n_features_)
    assert "hint" in found.selector.get_feature_names_out()


# ---- Hyperparameter tuning ------------------------------------------------------------------------------------------


def test_a_variant_written_into_the_shipped_file(tmp_path) -> None:
    """In a copy of the configuration, and in a process that reads that copy."""
    path = copytree(ROOT / "CONFIG", tmp_path / "CONFIG") / "model_config" / "lightgbm.yaml"
    shipped, written = path.read_text(), MANUAL_TUNING_FILE.partition("variants:\n")[2]
    path.write_text(shipped.replace("variants:\n", f"variants:\n{written}"))
    code = f"from CONFIG.config_loader import load_model_config\n{MANUAL_TUNING}"
    code += "print(config['n_estimators'], config['learning_rate'], config['max_depth'], config['min_data_in_leaf'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2000", "0.02", "6", "200"], done.stderr


def test_grid_search(split) -> None:
    """On few rows; the L1 penalty ends each of the 135 fits once residuals are below it, long before 1,000 trees."""
    X, y = split.X_train[:200], split.y_train["fwd_ret_5"][:200]
    penalty = {"reg_alpha": 1.0, "bagging_freq": 0}
    trainer = LightGBMTrainer(load_model_config("lightgbm", variant="smoke", overrides=penalty)).train(X, y)
    grid = run(GRID_SEARCH, trainer=trainer, X_train=X, y_train=y).grid
    assert len(grid.cv_results_["params"]) == 27
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()
    assert 1 < grid.best_estimator_.booster_.num_trees() < 1000
    assert np.ptp(grid.predict(X)) > 0


# ---- Evaluation -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classifier(split) -> LightGBMTrainer:
    config = load_model_config("lightgbm", variant="smoke")
    return LightGBMTrainer(config).train(split.X_train, split.y_train["y_will_peak"])


def test_model_evaluation(split, classifier) -> None:
    found = run(MODEL_EVALUATION, trainer=classifier, **of_target(split, "y_will_peak"))
    y = split.y_val["y_will_peak"].astype(float)
    assert found.mse == pytest.approx((found.y_pred != y).mean())
    assert found.r2 == pytest.approx(1 - found.mse / y.var(ddof=0))
    assert "accuracy" in found.report


def test_feature_importance(classifier, capsys) -> None:
    run(FEATURE_IMPORTANCE, trainer=classifier)
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} >= set(FEATURES)


def test_learning_curves(split, monkeypatch) -> None:
    """Two curves are drawn; no window opens."""
    import matplotlib.pyplot as plt

    shown = []
    plt.switch_backend("agg")
    monkeypatch.setattr(plt, "show", lambda: shown.append(plt.gca().get_legend_handles_labels()))
    names = of_target(split, "fwd_ret_5")
    trainer = XGBoostTrainer(load_model_config("xgboost", variant="smoke"))
    trainer.train(names["X_train"], names["y_train"], names["X_val"], names["y_val"])
    run(LEARNING_CURVES, trainer=trainer)
    [(lines, labels)] = shown
    plt.close("all")
    assert labels == ["Train", "Val"]
    assert len(lines[0].get_ydata()) == len(lines[1].get_ydata()) > 1
    assert lines[0].get_ydata()[-1] < lines[0].get_ydata()[0]


# ---- Saving ---------------------------------------------------------------------------------------------------------


def test_save_and_load(split, classifier, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    saved = run(SAVE_MODEL, trainer=classifier)
    loaded = run(LOAD_MODEL, joblib=saved.joblib, X_new=split.X_val)
    np.testing.assert_array_equal(loaded.y_pred, classifier.predict(split.X_val))
    assert saved.json.loads(Path("models/lightgbm_AAPL_2025-11-13_config.json").read_text()) == classifier.config
