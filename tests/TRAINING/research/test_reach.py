"""Labels that know more than they say, each way, and such as do not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from TRAINING.research.reach import check_labels
from TRAINING.research.subject import Subject


def moved(subject: Subject, column: str, bars: int) -> Subject:
    """The column as it is ``bars`` rows later, in each row."""
    by_symbol = subject.table.groupby("symbol", observed=True)[column]
    return subject.with_table(subject.table.assign(**{column: by_symbol.shift(-bars)}))


def test_true_labels_pass(clean: Subject) -> None:
    check = check_labels(clean)
    assert check.verdict == "passed", check.reason
    assert {"y_will_peak", "y_will_valley", "y_first_touch", "MFE", "MAE", "MDD", "fwd_ret_5"} <= set(check.numbers)
    assert check.numbers["fwd_ret_5"]["bars"] == 5
    # Five independent returns each make 1 / sqrt(5) of their sum.
    assert check.numbers["fwd_ret_5"]["path_correlation"] == pytest.approx(5**-0.5, abs=0.08)
    assert "TTH cannot be judged" in check.reason


@pytest.mark.parametrize("bars", [1, 3])
def test_a_label_end_that_comes_too_early_is_found(clean: Subject, bars: int) -> None:
    check = check_labels(moved(clean, "label_end", -bars))
    assert check.verdict == "failed"
    assert check.numbers["fwd_ret_5"]["behind"] == bars
    assert check.numbers["fwd_ret_5"]["before"] == 0
    assert "behind label_end" in check.reason


@pytest.mark.parametrize("target", ["fwd_ret_5", "MFE", "MDD"])
@pytest.mark.parametrize("bars", [1, -1])
def test_a_label_of_another_bar_is_found(clean: Subject, target: str, bars: int) -> None:
    check = check_labels(moved(clean, target, bars))
    assert check.verdict == "failed"
    assert check.numbers[target]["behind" if bars > 0 else "before"] >= 1
    assert check.reason.startswith(f"{target} knows {'returns up to' if bars > 0 else 'the return of the row'}")
    assert check.numbers["y_will_peak"]["behind"] == check.numbers["y_will_peak"]["before"] == 0


def test_a_longer_return_than_label_end_says_is_measured(clean: Subject) -> None:
    change = clean.ahead("close", 12) / clean.values("close")
    check = check_labels(clean.with_table(clean.table.assign(fwd_mine=change)))
    assert check.verdict == "failed"
    assert check.numbers["fwd_mine"]["behind"] == pytest.approx(12 - 5, abs=1)
    assert check.numbers["fwd_ret_5"]["behind"] == 0


def test_labels_without_a_direction_are_not_judged(clean: Subject) -> None:
    table = clean.table[["symbol", "timestamp", "close", "label_end", "vol_20"]]
    noise = np.random.default_rng(0).normal(size=len(table))
    check = check_labels(clean.with_table(table.assign(y_noise=noise, y_none=np.nan)))
    assert check.verdict == "not applicable"
    assert "y_noise, y_none" in check.reason


def test_prices_that_turn_back_between_bid_and_ask_are_no_leak(clean: Subject) -> None:
    side = np.random.default_rng(0).choice([0.99, 1.01], len(clean.table))
    table = clean.table.assign(close=clean.values("close") * side)
    bounced = clean.with_table(table)
    table = table.assign(fwd_ret_5=bounced.ahead("close", 5) / bounced.values("close") - 1)
    check = check_labels(clean.with_table(table[["symbol", "timestamp", "close", "label_end", "fwd_ret_5"]]))
    assert check.verdict == "passed", check.reason
    assert check.numbers["fwd_ret_5"]["before_correlation"] < -0.1


def test_paths_of_any_length_are_judged_row_by_row(clean: Subject) -> None:
    """Labels that end with the week, one to four bars ahead, and such as know the bar behind it."""
    parts = []
    for _, rows in clean.table.groupby("symbol", observed=True):
        week = rows["timestamp"].dt.isocalendar().week.to_numpy()
        last = np.append(np.flatnonzero(np.diff(week)), len(rows) - 1)
        end = last[np.searchsorted(last, np.arange(len(rows)))]
        close = rows["close"].to_numpy()
        change, more = close[end] / close - 1, close[np.minimum(end + 1, len(rows) - 1)] / close - 1
        ends = rows["timestamp"].to_numpy("datetime64[ns]")[end]
        has_path = end > np.arange(len(rows))
        parts.append(
            rows[["symbol", "timestamp", "close"]].assign(
                fwd_week=np.where(has_path, change, np.nan),
                fwd_more=np.where(has_path, more, np.nan),
                label_end=pd.DatetimeIndex(ends, tz="UTC"),
            )
        )
    subject = clean.with_table(pd.concat(parts, ignore_index=True))
    check = check_labels(subject)
    assert check.numbers["fwd_week"]["behind"] == check.numbers["fwd_week"]["before"] == 0
    assert check.numbers["fwd_more"]["behind"] == 1
    assert check.reason.startswith("fwd_more knows returns up to 1 bar behind label_end")
