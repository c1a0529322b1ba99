"""Columns that know the future under harmless names, and the project's own, which do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from TRAINING.research.foresight import check_foresight, usual_strength
from TRAINING.research.subject import Subject

MARGIN = 0.2


def noise_of(subject: Subject, share: float) -> np.ndarray:
    y = subject.values("fwd_ret_5")
    return y / np.nanstd(y) + share * np.random.default_rng(0).normal(size=len(y))


LEAKS: dict[str, Callable[[Subject], np.ndarray]] = {
    "the target": lambda s: s.values("y_will_peak"),
    "another target": lambda s: s.values("fwd_ret_5"),
    "the target turned round": lambda s: -s.values("fwd_ret_5"),
    "the target and as much noise": lambda s: noise_of(s, 1.0),
    "the next close": lambda s: s.ahead("close", 1),
    "the next close in cents": lambda s: 100 * s.ahead("close", 1),
    "the close of twenty bars later": lambda s: s.ahead("close", 20),
    "the next high": lambda s: s.ahead("high", 1),
    "the next volume": lambda s: s.ahead("volume", 1),
    "the sum of returns to the next bar": lambda s: np.log(s.ahead("close", 1)) - 4.6,
    "the return of ten bars": lambda s: s.ahead("close", 10) / s.values("close") - 1,
    "the return of forty bars": lambda s: s.ahead("close", 40) / s.values("close") - 1,
    "the time to a touch": lambda s: s.values("TTH"),
    "the drawdown": lambda s: s.values("MDD"),
    "the size of the next move": lambda s: np.abs(np.log(s.ahead("close", 1) / s.values("close"))),
}


def test_the_simple_set_passes(clean: Subject) -> None:
    check = check_foresight(clean, MARGIN)
    assert check.verdict == "passed", check.reason
    assert check.numbers["columns"] == 67
    assert check.numbers["named"] == []


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_is_named(clean: Subject, leak: str) -> None:
    planted = clean.with_table(clean.table.assign(harmless=LEAKS[leak](clean)))
    check = check_foresight(planted, MARGIN, ["harmless", "log_return_1", "vol_20", "month_sin"])
    assert check.verdict == "failed"
    assert check.numbers["named"] == ["harmless"]
    assert check.reason.startswith("harmless (")
    found = check.numbers["strongest"][0]
    neutral = 0.5 if found["metric"] == "auc" else 0.0
    assert abs(found["score"] - neutral) > abs(found["usual"] - neutral)
    assert abs(found["score"] - neutral) > 1.3 * abs(found["chance"] - neutral)


def test_a_weak_leak_is_a_warning_and_noise_is_none(clean: Subject) -> None:
    verdicts = []
    for share in (1.5, 4.0, 1e6):
        planted = clean.with_table(clean.table.assign(harmless=noise_of(clean, share)))
        verdicts.append(check_foresight(planted, MARGIN, ["harmless"]).verdict)
    assert verdicts == ["failed", "warned", "passed"]


def test_a_market_that_anyone_can_foretell_is_no_leak(clean: Subject) -> None:
    """Returns that turn back: the past return says much of the next one, and so may a feature."""
    close = 100 * np.exp(0.01 * np.random.default_rng(0).normal(size=len(clean.table)))
    table = clean.table[["symbol", "timestamp", "label_end"]].assign(close=close)
    turned = clean.with_table(table)
    table["fwd_ret_1"] = turned.ahead("close", 1) / close - 1
    table["last_return"] = close / turned.ahead("close", -1) - 1
    check = check_foresight(turned.with_table(table), MARGIN)
    assert check.verdict == "passed"
    assert check.numbers["usual"]["fwd_ret_1"]["score"] > 0.4
    table["next_return"] = turned.with_table(table).ahead("last_return", 1)
    check = check_foresight(turned.with_table(table), MARGIN)
    assert check.numbers["named"] == ["next_return"]


def test_what_is_usual_is_told_per_outcome(clean: Subject) -> None:
    usual = check_foresight(clean, MARGIN, ["vol_20"]).numbers["usual"]
    assert usual["the next volume"]["score"] > 0.4  # which turns back
    assert "volume" in usual["the next volume"]["of"]
    assert usual["MDD"]["score"] == pytest.approx(usual_strength(clean, "MDD"))
    assert {"y_will_peak", "the return of the next bar", "the next volume"} <= set(usual)


def test_few_sessions_and_no_features_are_not_judged(clean: Subject) -> None:
    rows = clean.table.groupby("symbol", observed=True).head(70).index
    few = clean.with_table(clean.table.loc[rows].reset_index(drop=True))
    assert check_foresight(few, MARGIN).verdict == "not applicable"
    bare = clean.with_table(clean.table[["symbol", "timestamp", "close", "label_end", "fwd_ret_5"]])
    assert check_foresight(bare, MARGIN).verdict == "not applicable"
    empty = clean.with_table(clean.table.assign(nothing=np.nan))
    assert check_foresight(empty, MARGIN, ["nothing"]).verdict == "not applicable"
