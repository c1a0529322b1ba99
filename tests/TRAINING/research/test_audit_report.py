"""Whole audits: clean panels pass, planted leaks fail, and the canaries say when a check is blind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import ConfigError, DataError
from TRAINING.research import canary, foresight
from TRAINING.research.audit import audit
from TRAINING.research.checks import AuditReport, Check, worst
from TRAINING.research.subject import Subject

QUICK = {"null_runs": 5}
NAMES = ["truncation", "labels", "overlap", "contamination", "foresight", "survivorship", "splits", "null", "canary"]


def test_the_demo_passes() -> None:
    report = audit("demo", settings=QUICK)
    assert list(report.frame()["check"]) == NAMES
    assert report.exit_code == 0
    assert set(report.frame()["verdict"]) == {"passed"}, report.frame().to_string()
    assert set(report.check("canary").numbers.values()) == {"seen"}
    assert len(report.check("canary").numbers) == 6


def test_bars_of_ones_own_pass_and_give_the_same_again(bars_folder: Path, listener) -> None:
    report = audit(str(bars_folder), settings=QUICK, progress=listener)
    assert report.exit_code == 0, report.frame().to_string()
    assert report.about["rows"] == 1500
    assert report.about["targets"] == ["y_will_peak", "fwd_ret_5"]
    assert listener.totals == {"check": 7, "null": 12, "canary": 6}
    assert listener.steps == listener.totals
    told = json.loads(report.to_json())
    assert told["exit_code"] == 0
    assert [check["name"] for check in told["checks"]] == NAMES
    again = audit(str(bars_folder), settings=QUICK)
    assert again.to_json() == report.to_json()


def shifted(table: pd.DataFrame, column: str, rows: int) -> pd.Series:
    return table.groupby("symbol")[column].shift(rows)


LEAKS: dict[str, tuple[str, Callable[[pd.DataFrame], dict]]] = {
    "a feature that is the label": ("foresight", lambda t: {"momentum": t["y_will_peak"]}),
    "a feature that is the next close": ("foresight", lambda t: {"fair_value": shifted(t, "close", -1)}),
    "a label_end that is too early": ("labels", lambda t: {"label_end": shifted(t, "label_end", 1)}),
    "a label of the next bar": ("labels", lambda t: {"fwd_ret_5": shifted(t, "fwd_ret_5", -1)}),
    "a label of the bar before": ("labels", lambda t: {"fwd_ret_5": shifted(t, "fwd_ret_5", 1)}),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_in_a_table_of_ones_own_fails(labeled_frame: pd.DataFrame, tmp_path: Path, leak: str) -> None:
    """As files, without anything but the columns that a table needs."""
    name, columns = LEAKS[leak]
    kept = ["symbol", "timestamp", "close", "label_end", "y_will_peak", "fwd_ret_5", "log_return_1", "vol_20", "rsi_14"]
    planted = labeled_frame[kept].assign(**columns(labeled_frame))
    planted = planted[(planted["label_end"] >= planted["timestamp"]) | planted["label_end"].isna()]
    for symbol, table in planted.groupby("symbol"):
        table.drop(columns="symbol").to_parquet(tmp_path / f"{symbol}.parquet", index=False)
    report = audit(tmp_path, settings=QUICK)
    assert report.exit_code == 1
    assert report.check(name).verdict == "failed"
    if name == "foresight":
        assert report.check(name).numbers["named"] == list(columns(labeled_frame))
    assert report.check("truncation").verdict == "not applicable"


def test_a_function_of_ones_own_that_looks_ahead_fails(bars_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "import numpy as np\nfrom DATA_PROCESSING.features.feature import Feature\n"
        "def peek(bars):\n    return bars.close / bars.close[::-1].cumsum()[::-1]\n"
        "FEATURES = (Feature('peek', peek, (), 1, 'of all that is to come'),)\n"
    )
    report = audit(bars_folder, feature_overrides={"features_from": str(tmp_path / "mine.py")}, settings=QUICK)
    assert report.exit_code == 1
    assert [check.name for check in report.failed] == ["truncation"]
    assert "mine.py: peek: looks ahead: " in report.check("truncation").reason


def test_a_table_in_memory_is_audited(labeled_frame: pd.DataFrame) -> None:
    report = audit(labeled_frame, targets=["MFE"], settings=QUICK)
    assert report.exit_code == 0, report.frame().to_string()
    assert (report.source, report.about["targets"]) == ("DataFrame", ["MFE"])
    planted = labeled_frame.assign(alpha=labeled_frame["MFE"])
    assert audit(planted, targets=["MFE"], settings=QUICK).check("foresight").numbers["named"] == ["alpha"]


def test_some_of_many_rows_are_looked_at(labeled_frame: pd.DataFrame) -> None:
    report = audit(labeled_frame, settings={**QUICK, "most_rows": 1000})
    assert (report.about["symbols"], report.about["symbols_looked_at"], report.about["rows"]) == (3, 2, 1000)


def test_a_check_that_sees_nothing_fails_the_audit(labeled_frame: pd.DataFrame, monkeypatch) -> None:
    blind = Check("foresight", "passed", "nothing seen")
    monkeypatch.setattr(foresight, "check_foresight", lambda subject, margin, columns=None: blind)
    check = audit(labeled_frame, settings=QUICK).check("canary")
    assert check.verdict == "failed"
    assert "not seen although planted: a column that is the label and as much noise" in check.reason


def test_canaries_of_checks_without_rows_are_left_out(clean: Subject) -> None:
    check = canary.check_canary(clean, 0.2, {"labels", "overlap"})
    assert check.verdict == "passed"
    assert sum(what == "seen" for what in check.numbers.values()) == 2
    assert canary.check_canary(clean, 0.2, set()).verdict == "not applicable"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"source": "nowhere"}, DataError, "nowhere"),
        ({"targets": ["fwd_ret_6"]}, ConfigError, "no target 'fwd_ret_6'; did you mean 'fwd_ret_5'"),
        ({"symbols": ["AAB"]}, ConfigError, "AAB"),
        ({"settings": {"null_runs": 1}}, ConfigError, "null_runs"),
        ({"settings": {"margins": 1}}, ConfigError, "did you mean 'margin'"),
        ({"feature_overrides": {"set": "simpel"}}, ConfigError, "simple"),
        ({"feature_overrides": {"features_from": "none.py"}}, ConfigError, "none.py"),
    ],
)
def test_wrong_arguments_are_told(bars_folder: Path, arguments: dict, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        audit(**{"source": str(bars_folder), **arguments})


def test_a_table_has_no_features_to_choose(labeled_frame: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match="for bars"):
        audit(labeled_frame, feature_overrides={"set": "simple"})
    with pytest.raises(DataError, match="no row has a label"):
        audit(labeled_frame.assign(**dict.fromkeys(("fwd_ret_5", "y_will_peak"), np.nan))[
            ["symbol", "timestamp", "close", "label_end", "vol_20", "fwd_ret_5", "y_will_peak"]
        ])  # fmt: skip


def test_a_report_is_json_whatever_its_numbers() -> None:
    numbers = {"nan": np.nan, "array": [np.float32(0.5), np.int64(3)], "day": np.datetime64("2020-01-01"), 3: (True,)}
    report = AuditReport("x", (Check("a", "warned", "why", numbers), Check("b", "failed", "so")), {"n": np.inf})
    told = json.loads(report.to_json())
    assert told["n"] is None
    expected = {"nan": None, "array": [0.5, 3], "day": "2020-01-01", "3": [True]}
    assert told["checks"][0]["numbers"] == expected
    assert (report.exit_code, [check.name for check in report.failed]) == (1, ["b"])
    assert worst(["passed", "warned", "not applicable"]) == "warned"
    assert worst([]) == "not applicable"
