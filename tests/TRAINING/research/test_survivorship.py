"""Panels without deaths, and splits left in prices."""

from __future__ import annotations

from dataclasses import replace
from math import exp

import numpy as np
import pandas as pd
import pytest

from TRAINING.research.subject import Subject, open_subject
from TRAINING.research.survivorship import check_splits, check_survivorship


def of_spans(subject: Subject, spans: list[tuple[int, int]]) -> Subject:
    sessions = np.arange("2010-01-01", "2020-01-01", dtype="datetime64[D]")
    sessions = sessions[np.is_busday(sessions)]
    named = {f"S{n}": (sessions[first], sessions[last]) for n, (first, last) in enumerate(spans)}
    return replace(subject, sessions=sessions, spans=named)


def test_few_symbols_may_all_live(clean: Subject) -> None:
    check = check_survivorship(clean, 0.04)
    assert check.verdict == "passed"
    assert check.numbers["symbol_years"] == pytest.approx(3 * 500 / 261, rel=0.01)
    assert check.numbers["probability_of_none"] == pytest.approx(exp(-0.04 * 3 * 500 / 261), rel=0.01)


def test_many_that_all_live_were_chosen_with_hindsight(clean: Subject) -> None:
    alive = of_spans(clean, [(0, -1)] * 20)
    check = check_survivorship(alive, 0.04)
    assert check.verdict == "warned"
    assert "all 20 symbols are alive at the end and all start together; of 8 expected ends" in check.reason
    assert check_survivorship(alive, 0.001).verdict == "passed"
    later = check_survivorship(of_spans(clean, [(0, -1)] * 20 + [(900, -1)]), 0.04)
    assert later.numbers["begun_later"] == 1
    assert "start together" not in later.reason


def test_a_panel_with_deaths_passes(clean: Subject) -> None:
    check = check_survivorship(of_spans(clean, [(0, -1)] * 20 + [(0, 1200), (30, 2000)]), 0.04)
    assert check.verdict == "passed"
    assert (check.numbers["ended"], check.numbers["begun_later"]) == (2, 1)
    stopped_lately = of_spans(clean, [(0, -1)] * 20 + [(0, -5)])
    assert check_survivorship(stopped_lately, 0.04).verdict == "warned"


def test_a_split_in_a_table_is_a_warning(labeled_frame: pd.DataFrame) -> None:
    assert check_splits(open_subject(labeled_frame)).verdict == "passed"
    table = labeled_frame.assign(volume=1000.0)
    rows = table.index[table["symbol"] == "BBB"][:250]
    table.loc[rows, ["open", "high", "low", "close"]] *= 4
    table.loc[rows, "volume"] /= 4
    check = check_splits(open_subject(table))
    assert check.verdict == "warned"
    assert "BBB 4:1 on 2015-12-17" in check.reason
    assert [event["symbol"] for event in check.numbers["events"]] == ["BBB"]
    assert check_splits(open_subject(table.drop(columns="volume"))).verdict == "not applicable"


def test_splits_of_bars_are_those_that_the_panel_found(tmp_path, make_bars) -> None:
    bars = make_bars(300).assign(volume=1000.0)
    bars.loc[:149, ["open", "high", "low", "close"]] *= 2
    bars.loc[:149, "volume"] /= 2
    bars.to_csv(tmp_path / "TWO.csv", index=False)
    check = check_splits(open_subject(tmp_path / "TWO.csv"))
    assert check.verdict == "warned"
    assert "TWO 2:1 on 2015-07-30" in check.reason
    (tmp_path / "bars.yaml").write_text("defaults:\n  adjust: infer\n")
    assert check_splits(open_subject(tmp_path / "TWO.csv", files=[tmp_path / "bars.yaml"])).verdict == "passed"
