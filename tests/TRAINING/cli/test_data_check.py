"""``barzoo data check`` as a user types it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest


@pytest.fixture
def check(barzoo) -> Callable[..., CompletedProcess]:
    return partial(barzoo, "data", "check")


@pytest.fixture
def folder(tmp_path: Path, make_bars) -> Path:
    """A symbol with a hole, one that is split, one whose rows are all bad."""
    bars = make_bars(200)
    bars["volume"] = 1000.0
    bars.drop(index=[40, 41]).to_csv(tmp_path / "HOLE.csv", index=False)
    split = bars.copy()
    split.loc[:99, ["open", "high", "low", "close"]] *= 4
    split.loc[:99, "volume"] /= 4
    split.to_csv(tmp_path / "SPLIT.csv", index=False)
    bars[:3].assign(close=-1.0).to_csv(tmp_path / "BAD.csv", index=False)
    return tmp_path


def test_the_table_tells_what_was_found(folder: Path, check) -> None:
    done = check(".", cwd=folder)
    assert done.returncode == 0, done.stderr
    for said in ("2 sessions missing, 2 in a row", "split-like 4:1 on", "no valid bar: 3 price not above zero",
                 "split-like: SPLIT 4:1 on 2015-05-21, not adjusted", "2 of 3 symbols usable"):  # fmt: skip
        assert said in done.stdout
    assert "adjust: infer in bars.yaml" in done.stderr
    assert not list(folder.glob("*.html"))


def test_inferred_splits_are_adjusted_for(folder: Path, check) -> None:
    (folder / "bars.yaml").write_text("defaults:\n  adjust: infer\n")
    done = check(".", "--config", "bars.yaml", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(row["symbol"], row["ratio"], row["adjusted"]) for row in told["splits"]] == [("SPLIT", 4.0, True)]
    assert {row["symbol"]: row["adjusted"] for row in told["symbols"]} == {"BAD": False, "HOLE": False, "SPLIT": True}
    assert [(row["symbol"], row["sessions"]) for row in told["gaps"]] == [("HOLE", 2)]
    assert {row["interval"] for row in told["symbols"]} == {"", "1d"}
    assert [row["row"] for row in told["bad_rows"]] == [1, 2, 3]
    assert done.stderr == ""


def test_the_page_is_written_whole_where_it_is_asked_for(folder: Path, check) -> None:
    done = check(".", "--report", "pages/check.html", cwd=folder)
    assert done.returncode == 0, done.stderr
    page = (folder / "pages" / "check.html").read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "2 of 3 symbols are usable" in page
    (folder / "file").write_text("")
    refused = check(".", "--report", "file/check.html", cwd=folder)
    assert refused.returncode == 2
    assert "file/check.html: cannot write there" in refused.stderr


def test_nothing_usable_is_shown_and_exits_3(folder: Path, check) -> None:
    for name in ("HOLE", "SPLIT"):
        (folder / f"{name}.csv").unlink()
    done = check(".", "--report", "check.html", cwd=folder)
    assert done.returncode == 3
    assert "no valid bar: 3 price not above zero" in done.stdout
    assert "0 of 1 symbols usable" in done.stdout
    assert done.stderr.startswith("error: .: no usable bar in 1 symbols")
    assert "The symbol is not usable." in (folder / "check.html").read_text("utf-8")
    told = json.loads(check(".", "--json", cwd=folder).stdout)
    assert told["symbols"][0]["bad_rows"] == 3


def test_of_many_symbols_only_those_with_findings_are_printed(tmp_path: Path, make_bars, check) -> None:
    whole = make_bars(30)
    frames = [whole.assign(symbol=f"S{number:02}") for number in range(70)]
    frames[7] = frames[7].drop(index=11)
    pd.concat(frames).to_parquet(tmp_path / "panel.parquet")
    done = check("panel.parquet", cwd=tmp_path)
    assert "S07" in done.stdout
    assert "S08" not in done.stdout
    assert "69 more symbols, of which there is nothing to tell" in done.stdout


def test_rows_are_counted_from_1_everywhere_and_their_texts_are_shown(tmp_path: Path, make_bars, check) -> None:
    bars = make_bars(50).astype({"close": object})
    bars.loc[20, "close"] = "oops"
    bars.to_csv(tmp_path / "AAA.csv", index=False)
    done = check("AAA.csv", "--report", "check.html", cwd=tmp_path)
    assert "1 bad row: text in close: row 21 of AAA.csv (AAA)" in done.stdout
    cells = re.findall("<td[^>]*>([^<]*)</td>", (tmp_path / "check.html").read_text("utf-8").split('id="bad-rows"')[1])
    assert {"21", "oops"} <= {*cells}
    assert json.loads(check("AAA.csv", "--json", cwd=tmp_path).stdout)["bad_rows"][0]["row"] == 21


def test_level_shifts_are_told(tmp_path: Path, make_bars, check) -> None:
    bars = make_bars(50)
    bars.loc[30:, ["open", "high", "low", "close"]] *= 0.4
    bars.to_csv(tmp_path / "AAA.csv", index=False)
    done = check(".", cwd=tmp_path)
    assert "1 level shift" in done.stdout
    assert re.search(r"level shift: AAA from [\d.]+ to [\d.]+ \(-(59|60|61)%\) on 2015-02-12", done.stdout)
    (shift,) = json.loads(check(".", "--json", cwd=tmp_path).stdout)["level_shifts"]
    assert (shift["symbol"], shift["session"][:10]) == ("AAA", "2015-02-12")


def test_resampled_bars_say_what_the_rows_are(tmp_path: Path, make_bars, check) -> None:
    make_bars(200).to_csv(tmp_path / "AAA.csv", index=False)
    (tmp_path / "bars.yaml").write_text("defaults:\n  resample: 1w\n")
    done = check(".", "--config", "bars.yaml", cwd=tmp_path)
    head, *_, row = (line.split() for line in done.stdout.splitlines()[1:4])
    assert head[:3] == ["symbol", "rows", "every"]
    assert row[:3] == ["AAA", "200", "7d"]
    assert "rows and bad rows are those of the source; the rest is of the 1w bars they are joined to" in done.stdout


def test_the_last_session_is_shown_in_its_zone(tmp_path: Path, make_bars, check) -> None:
    bars = make_bars(50)
    bars["timestamp"] += pd.Timedelta("2h")
    bars.to_csv(tmp_path / "AAA.csv", index=False)
    (tmp_path / "bars.yaml").write_text("defaults:\n  session_zone: America/New_York\n")
    last = bars["timestamp"].iloc[-1].date()
    assert f" {last} " in check(".", cwd=tmp_path).stdout
    there = check(".", "--config", "bars.yaml", cwd=tmp_path).stdout
    assert f" {last - timedelta(days=1)} " in there
    assert f" {last} " not in there
