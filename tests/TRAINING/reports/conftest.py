"""Synthetic frames as a run hands them to its report."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from TRAINING.reports.leaderboard import rank

BASELINES = {"y_up": ("base_rate", "logistic", "buy_and_hold"), "fwd_ret_5": ("mean", "ridge", "buy_and_hold")}


def _leaderboard(models: tuple[str, ...], symbols: int, random: np.random.Generator) -> pd.DataFrame:
    rows = []
    for target, baselines in BASELINES.items():
        binary = target.startswith("y_")
        for name in (*models, *baselines):
            scored, traded = name != "buy_and_hold", name not in ("base_rate", "mean")
            sharpe = random.normal() if traded else np.nan
            rows.append(
                {
                    "model": name,
                    "target": target,
                    "kind": "model" if name in models else "baseline",
                    "symbols": symbols,
                    "score_name": "auc" if binary else "rank_ic",
                    "score": random.uniform(0.5, 0.6) if scored else np.nan,
                    "loss_name": "log_loss" if binary else "rmse",
                    "loss": random.uniform(0.5, 0.7) if scored else np.nan,
                    "sharpe": sharpe,
                    "sharpe_low": sharpe - 2,
                    "sharpe_high": sharpe + 2,
                    "annual_return": random.normal(0.05, 0.1) if traded else 0.0,
                    "max_drawdown": -random.uniform(0, 0.3) if traded else 0.0,
                    "hit_rate": 0.51 if traded else np.nan,
                    "profit_factor": np.inf if name == models[0] else 1.1,
                    "turnover": 12.3,
                    "exposure": 0.4,
                    "beats_score": baselines[0] if name in models else np.nan,
                    "beats_money": "" if name in models else np.nan,
                    "reason": np.nan if traded else "sharpe: the returns do not vary",
                }
            )
    return rank(pd.DataFrame(rows), "sharpe")


def _units(models: tuple[str, ...], symbols: list[str], random: np.random.Generator) -> pd.DataFrame:
    rows = []
    for target in BASELINES:
        for model in models:
            for place, symbol in enumerate(symbols):
                unit = {"model": model, "target": target, "symbol": symbol, "train_rows": 700.0, "test_rows": 60.0}
                if place % 50 == 3:
                    rows.append(unit | {"status": "skipped", "reason": f"too few rows: {place} of 200"})
                    continue
                score = {"auc": random.normal(0.55, 0.03)} if target == "y_up" else {"rank_ic": random.normal(0, 0.1)}
                notes = "the validation rows have one class" if place % 50 == 2 else ""
                rows.append(
                    unit
                    | {"status": "done", "reason": "", "notes": notes, "rounds": float(random.integers(1, 90))}
                    | {"sharpe": random.normal(), "max_drawdown": -0.1, "hit_rate": np.nan, "turnover": 3.0}
                    | score
                )
    return pd.DataFrame(rows)


def make_frames(symbols: list[str], models: tuple[str, ...] = ("lightgbm", "xgboost"), sessions: int = 60) -> dict:
    """Keyword arguments of ``render_report``."""
    random = np.random.default_rng(7)
    days = pd.bdate_range("2021-11-01", periods=sessions)
    pairs = [(model, target) for target in BASELINES for model in models]
    leaderboard = _leaderboard(models, len(symbols), random)
    returns = [
        pd.DataFrame({"model": row["model"], "target": row["target"], "session": days})
        .assign(net_return=random.normal(0, 0.01, sessions))
        .assign(gross_return=lambda frame: frame["net_return"] + 0.0002)
        for row in leaderboard.to_dict("records")
    ]
    details = [
        pd.DataFrame({"model": models[0], "target": "y_up", "symbol": symbol, "session": days})
        .assign(net_return=random.normal(0, 0.01, sessions), position=random.choice([-1, 0, 0.5, 1], sessions))
        .assign(close=100 * np.exp(np.cumsum(random.normal(0, 0.01, sessions))))
        for symbol in [*symbols[:2], *symbols[-2:]]
    ]
    importance = [
        pd.DataFrame({"feature": [f"feature_{i}" for i in range(30)], "importance": random.dirichlet(np.ones(30))})
        for _ in pairs
    ]
    curve = pd.DataFrame({"round": np.arange(1, 31), "value": np.linspace(0.7, 0.6, 30)})
    curve = curve.assign(low=curve["value"] - 0.01, high=curve["value"] + 0.01, metric="binary_logloss")
    bins = pd.DataFrame({"predicted": np.linspace(0.1, 0.9, 10), "observed": np.linspace(0.2, 0.8, 10), "rows": 50})
    return {
        "title": "core · demo",
        "meta": {"source": "demo", "test window": "2021-11-01 to 2022-01-21", "costs": "5 bps", "seed": "0"},
        "notes": ["FB skipped: too short"],
        "leaderboard": leaderboard,
        "units": _units(models, symbols, random),
        "returns": pd.concat(returns, ignore_index=True),
        "symbol_returns": pd.concat(details, ignore_index=True),
        "importance": pd.concat(
            [frame.assign(model=m, target=t) for frame, (m, t) in zip(importance, pairs, strict=True)]
        ),
        "curves": pd.concat(
            [curve.assign(model=m, target=t, part=p) for m, t in pairs for p in ("train", "validation")]
        ),
        "calibration": pd.concat(
            [bins.assign(model=m, target=t, task="binary" if t == "y_up" else "regression") for m, t in pairs]
        ),
        "quality": pd.DataFrame(
            {
                "symbol": symbols,
                "rows": random.integers(100, 3000, len(symbols)),
                "first": pd.Timestamp("2010-01-04"),
                "last": days[-1],
                "bad_rows": [3 if i % 100 == 0 else 0 for i in range(len(symbols))],
                "reasons": ["high below low: 3" if i % 100 == 0 else "" for i in range(len(symbols))],
                "duplicates": 0,
                "adjusted": True,
                "stale": False,
                "something new": 1.5,
            }
        ),
    }


@pytest.fixture(scope="session")
def make() -> Callable[..., dict]:
    return make_frames


@pytest.fixture(scope="session")
def frames() -> dict:
    return make_frames(["AAPL", "GOOG", "IBM", "MSFT", "FB"])


@pytest.fixture(scope="session")
def many() -> dict:
    return make_frames([f"S{i:03d}" for i in range(505)])
