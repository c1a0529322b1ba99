from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from TRAINING.reports import answers
from TRAINING.reports.html import render_report
from TRAINING.reports.panels import Order

DAYS = pd.bdate_range("2021-01-01", periods=120, tz="UTC")
PAIRS = [("lightgbm", "y_up"), ("lightgbm", "fwd_ret_5"), ("xgboost", "fwd_ret_5")]


def of_rows(name: str, random: np.random.Generator) -> pd.DataFrame:
    frame = pd.DataFrame({"timestamp": DAYS, "session": DAYS.tz_localize(None), "symbol": "AAPL"})
    frame["close"] = 100 * np.exp(np.cumsum(random.normal(0, 0.01, len(DAYS))))
    if name == "regimes":
        return frame.assign(regime=random.integers(0, 3, len(DAYS)))
    chance = np.zeros(len(DAYS))
    chance[[30, 31, 32, 90]] = 0.9
    return frame.assign(bars_since_change=1.0, change_probability=chance)


def make_answers() -> dict[str, pd.DataFrame]:
    random = np.random.default_rng(0)
    edges = np.linspace(0, 1, 11)
    single = {
        "regimes": of_rows("regimes", random),
        "transitions": pd.DataFrame(
            {"from": [0, 0, 1, 1], "to": [0, 1, 0, 1], "count": [90, 10, 0, 5]}
        ).assign(regimes=2, symbols=3, of_symbols=5),
        "changes": of_rows("changes", random),
        "pit": pd.DataFrame({"low": edges[:-1], "high": edges[1:], "share": random.dirichlet(np.ones(10))}).assign(
            chance_low=0.08, chance_high=0.12, rows=500
        ),
        "quantiles": pd.DataFrame({"level": [0.05, 0.5, 0.95], "below": [0.04, 0.52, 0.99]}).assign(
            low=0.03, high=0.995, rows=500, pinball=0.0123
        ),
        "weights": pd.DataFrame({"part": ["boosting", "mean"], "median": [0.4, 0.6]}).assign(
            low=0.1, high=0.9, symbols=5
        ),
        "shap": pd.DataFrame({"feature": [f"feature_{i}" for i in range(30)], "mean_abs": random.random(30)}).assign(
            direction=random.uniform(-1, 1, 30), unit="log-odds", symbols=5
        ),
        "scores": pd.DataFrame({"score": ["pinball_0_05", "coverage_90", "crps"], "median": [0.1, 0.912, 0.3]}).assign(
            low=0.01, high=0.99, symbols=5
        ),
    }  # fmt: skip
    return {
        name: pd.concat([frame.assign(model=model, target=target) for model, target in PAIRS], ignore_index=True)
        for name, frame in single.items()
    }


@pytest.fixture(scope="module")
def told() -> dict[str, pd.DataFrame]:
    return make_answers()


@pytest.fixture(scope="module")
def page(frames, told) -> str:
    return render_report(**frames, answers=told)


def section(page: str, name: str = "answers") -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', page, re.DOTALL)
    return found[0] if found else ""


def test_every_topic_is_there_in_the_leaderboards_order(page, told, frames) -> None:
    order = Order.of(frames["leaderboard"])
    found = answers.topics(told, order)
    assert [topic.title for topic in found] == [
        "Regimes", "Changes", "Distributions", "Quantiles", "Weights", "Scores of their own"
    ]  # fmt: skip
    pairs = [pair for pair in order.pairs if pair[::-1] in PAIRS]
    assert [(panel.subtitle.split(" · ")[0], panel.title.split(":")[0]) for panel in found[2].panels] == pairs
    labels = re.findall(r'aria-label="([^"]+)"', section(page))
    for start, count in (("Close by regime", 2), ("Close and detected", 2), ("PIT histogram", 3), ("Coverage of", 3),
                         ("Weights of", 3)):  # fmt: skip
        assert sum(label.startswith(start) for label in labels) == count, start
    assert page.count('aria-label="Mean size of the SHAP values') == 3
    assert '<a href="#answers">' in page


def test_the_same_frames_give_the_same_bytes_and_unique_ids(frames, told, page) -> None:
    before = {name: frame.copy() for name, frame in told.items()}
    assert render_report(**frames, answers=told) == page
    for name, frame in before.items():
        pd.testing.assert_frame_equal(told[name], frame)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert not re.findall(r"#[0-9a-f]{6}", "".join(re.findall(r"<svg.*?</svg>", section(page), re.DOTALL)))


def test_targets_with_the_same_rows_share_a_picture(told, frames) -> None:
    order = Order.of(frames["leaderboard"])
    regimes = told["regimes"].copy()
    assert len(answers.topics({"regimes": regimes}, order)[0].panels) == 2  # one per model
    other = (regimes["model"] == "lightgbm") & (regimes["target"] == "y_up")
    regimes.loc[other.idxmax(), "regime"] = 5
    assert len(answers.topics({"regimes": regimes}, order)[0].panels) == 3


def test_transitions_are_told_in_shares(told, frames) -> None:
    topic = answers.topics({"transitions": told["transitions"]}, Order.of(frames["leaderboard"]))[0]
    assert topic.tables[0].rows == [["0", "95.2%", "90.0%", "10.0%", "10.0"], ["1", "4.8%", "0.0%", "100.0%", "–"]]
    assert "3 of 5 symbols, the others have more or fewer regimes" in topic.tables[0].title


def test_changes_are_marked_where_they_begin(told, frames) -> None:
    topic = answers.topics({"changes": told["changes"]}, Order.of(frames["leaderboard"]))[0]
    assert topic.panels[0].title == "AAPL, 2 changes detected in 120 bars"
    assert topic.panels[0].picture.count("--orange") == 4  # in the price, and in the probability


def test_calibration_is_told_in_numbers(page) -> None:
    words = re.sub(r"<[^>]+>", " ", section(page))
    assert "90% intervals hold 91.2%" in words
    assert "CRPS 0.3000" in words
    assert "95.0% between the outer quantiles, 90% asked" in words
    assert "pinball 0.05" in words


def test_a_run_without_answers_has_no_such_part(frames, page) -> None:
    plain = render_report(**frames)
    assert 'id="answers"' not in plain
    assert "#answers" not in plain
    assert "SHAP" not in plain
    assert len(page) > len(plain)


@pytest.mark.parametrize("absent", sorted(make_answers()))
def test_any_one_may_be_missing(frames, told, absent) -> None:
    some = {name: frame for name, frame in told.items() if name != absent}
    assert len(answers.topics(some, Order.of(frames["leaderboard"]))) >= 5
    render_report(**frames, answers=some)


def test_unknown_bands_and_directions_are_left_out(told, frames) -> None:
    holes = {name: frame.copy() for name, frame in told.items()}
    holes["pit"][["chance_low", "chance_high"]] = np.nan
    holes["quantiles"][["low", "high"]] = np.nan
    holes["shap"]["direction"] = np.nan
    words = re.sub(r"<[^>]+>", " ", section(render_report(**frames, answers=holes)))
    assert not re.findall(r"\b(nan|NaN|None|inf)\b", words)


def test_names_are_escaped(frames, told) -> None:
    evil = '</script><img src=x>"'
    texts = ("model", "symbol", "feature", "part", "score")
    hostile = {
        name: frame.assign(**{column: evil + frame[column] for column in texts if column in frame})
        for name, frame in told.items()
    }
    page = render_report(**frames, answers=hostile)
    assert "<img" not in page
    assert page.count("<script>") == 1


def test_long_histories_and_many_targets_stay_light(frames, told) -> None:
    days = pd.date_range("2021-01-01", periods=50_000, freq="min", tz="UTC")
    random = np.random.default_rng(0)
    rows = pd.DataFrame({"timestamp": days, "session": days.tz_localize(None).normalize(), "symbol": "A"})
    rows = rows.assign(close=random.uniform(1, 2, len(days)), regime=random.integers(0, 4, len(days)))
    rows = rows.assign(change_probability=random.random(len(days)) ** 8, model="lightgbm", target="y_up")
    long = render_report(**frames, answers={"regimes": rows, "changes": rows})
    assert len(long) < len(render_report(**frames)) + 300_000
