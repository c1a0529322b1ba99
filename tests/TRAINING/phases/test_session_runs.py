"""Runs over bars whose sessions are not dates in UTC, and over symbols that trade on different days."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_run_config
from CONFIG.errors import DataError
from DATA_PROCESSING.labeled import TableBuilder, label_panel, read_table
from DATA_PROCESSING.sources import read_panel
from TRAINING.phases.inputs import open_inputs
from TRAINING.phases.plan import Plan, Request, make_plan
from TRAINING.phases.predict import predict_newest
from TRAINING.phases.windows import UnitData, make_windows
from TRAINING.runs.manifest import read_sealed

TARGET = "fwd_ret_5"
NEW_YORK = {"session_zone": "America/New_York"}
CHICAGO = {"calendar": "CMES"}


@pytest.fixture
def write(tmp_path: Path, make_bars):
    """A folder of CSV files, one per symbol with its timestamps, and a bars.yaml beside it."""

    def make(settings: dict[str, str], **stamps: pd.DatetimeIndex) -> tuple[Path, Path]:
        (tmp_path / "bars").mkdir()
        for seed, (symbol, index) in enumerate(stamps.items()):
            make_bars(len(index), seed).assign(timestamp=index).to_csv(tmp_path / "bars" / f"{symbol}.csv", index=False)
        lines = "".join(f"  {key}: {value}\n" for key, value in settings.items())
        (tmp_path / "bars.yaml").write_text(f"defaults:\n{lines}")
        return tmp_path / "bars", tmp_path / "bars.yaml"

    return make


def every_15_minutes(days: int) -> pd.DatetimeIndex:
    """New York from 04:00 to 20:00, which in winter is 09:00 to 01:00 of the next day in UTC."""
    clock = pd.timedelta_range("4h", "20h", freq="15min", closed="left").to_numpy()
    stamps = pd.bdate_range("2024-01-02", periods=days).to_numpy()[:, None] + clock
    return pd.DatetimeIndex(stamps.ravel()).tz_localize("America/New_York")


def every_hour(days: int) -> pd.DatetimeIndex:
    """Chicago from 17:00 of the evening before to 16:00."""
    clock = pd.timedelta_range("-7h", "16h", freq="h", closed="left").to_numpy()
    stamps = pd.bdate_range("2024-01-22", periods=days).drop("2024-03-29", errors="ignore").to_numpy()[:, None] + clock
    return pd.DatetimeIndex(stamps.ravel()).tz_localize("America/Chicago")


def plan_of(source: Path, config: Path | None, **request) -> Plan:
    files = (config,) if config else ()
    request = Request(source=str(source), models=["lightgbm"], target=TARGET, variant="smoke", files=files, **request)
    return make_plan(request, open_inputs(request.source, request.symbols, request.files))


def windows_of(plan: Plan) -> UnitData:
    unit = next(unit for unit in plan.todo if unit.model == "lightgbm")
    return make_windows(unit, plan, plan.inputs.table(unit.symbol, None))


@pytest.mark.parametrize(
    ("settings", "stamps", "session_of"),
    [
        (NEW_YORK, every_15_minutes(30), lambda t: t.tz_convert("America/New_York").tz_localize(None).normalize()),
        (CHICAGO, every_hour(60),
         lambda t: (t.tz_convert("America/Chicago").tz_localize(None) + pd.Timedelta("7h")).normalize()),
    ],
    ids=["new_york", "chicago"],
)  # fmt: skip
def test_windows_and_purge_go_by_sessions(write, settings, stamps, session_of) -> None:
    plan = plan_of(*write(settings, A=stamps))
    stamps = stamps.tz_convert("UTC")
    sessions = session_of(stamps)
    label_sessions = sessions[5:].append(pd.DatetimeIndex([pd.NaT] * 5))
    distinct = sessions.unique()
    assert plan.inputs.sessions.tolist() == [day.date() for day in distinct]
    assert (sessions != stamps.tz_localize(None).normalize()).any(), "dates in UTC would be others"
    validation_start, test_start = distinct[int(len(distinct) * 0.6)], distinct[int(len(distinct) * 0.8)]
    assert (plan.validation_start, plan.test_start) == (validation_start, test_start)

    windows = windows_of(plan)
    expected = {
        "train": (sessions < validation_start) & (label_sessions < validation_start),
        "validation": (sessions >= validation_start) & (sessions < test_start) & (label_sessions < test_start),
        "test": sessions >= test_start,
    }
    for name, mask in expected.items():
        assert getattr(windows, name).X.index.get_level_values("timestamp").equals(stamps[mask]), name
    assert len(windows.train) == np.count_nonzero(sessions < validation_start) - 5


def test_a_portfolio_earns_by_session(write, run, tmp_path: Path) -> None:
    """Sunday evening in Chicago is Monday's."""
    stamps = every_hour(60)
    outcome, _ = run(plan_of(*write(CHICAGO, A=stamps)), tmp_path / "run")
    rows = pd.read_parquet(tmp_path / f"run/units/lightgbm/{TARGET}/A/predictions.parquet")
    sessions = (rows["timestamp"].dt.tz_convert("America/Chicago") + pd.Timedelta("7h")).dt.date
    assert rows["session"].tolist() == sessions.tolist()
    returns = outcome.results.returns.query("model == 'lightgbm'").set_index("session")["net_return"]
    expected = rows.groupby(sessions)["net_return"].sum()
    np.testing.assert_allclose(returns, expected, atol=1e-15)
    assert (returns.index.dayofweek < 5).all()


@pytest.mark.parametrize("symbols", [["STOCK"], ["COIN", "STOCK"]])
def test_years_are_those_of_the_symbols_that_trade(write, run, tmp_path: Path, symbols: list[str]) -> None:
    """A stock has 261 weekdays a year, whatever trades beside it; a portfolio has the days of all its symbols."""
    stock = pd.bdate_range("2022-01-03", periods=500, tz="UTC")
    coin = pd.date_range(stock[0], stock[-1])
    source, config = write({}, STOCK=stock, COIN=coin)
    outcome, _ = run(plan_of(source, config, symbols=symbols), tmp_path / "run")
    weekdays, days = 365.25 * 5 / 7, 365.25
    record, _ = read_sealed(tmp_path / f"run/units/baselines/{TARGET}/STOCK")
    rows = pd.read_parquet(tmp_path / f"run/units/baselines/{TARGET}/STOCK/predictions.parquet")
    held = rows.query("name == 'buy_and_hold'")
    volatility = held["net_return"].std() * np.sqrt(weekdays)
    assert record["scores"]["buy_and_hold"]["volatility"] == pytest.approx(volatility, rel=2e-3)

    board = outcome.results.leaderboard.set_index("model").loc["buy_and_hold"]
    returns = outcome.results.returns.query("model == 'buy_and_hold'")["net_return"]
    yearly = weekdays if symbols == ["STOCK"] else days
    assert board["volatility"] == pytest.approx(returns.std() * np.sqrt(yearly), rel=2e-3)
    if symbols == ["STOCK"]:
        assert board["turnover"] == pytest.approx(held["position_change"].mean() * weekdays, rel=5e-3)
        assert board["volatility"] == pytest.approx(record["scores"]["buy_and_hold"]["volatility"])


def test_a_stock_is_not_stale_after_a_weekend_of_others(write, run, tmp_path: Path) -> None:
    stock = pd.bdate_range("2022-01-03", periods=500, tz="UTC")
    coin = pd.date_range(stock[0], stock[-1] + pd.Timedelta("6D"))
    source, config = write({"stale_sessions": 4}, STOCK=stock, COIN=coin)
    run(plan_of(source, config, symbols=["STOCK", "COIN"]), tmp_path / "run")
    warnings = predict_newest(tmp_path / "run", str(source)).rows.set_index("symbol")["warning"]
    assert warnings.to_dict() == {"COIN": "", "STOCK": ""}
    bars = pd.read_csv(source / "STOCK.csv")
    bars[:-1].to_csv(source / "STOCK.csv", index=False)
    warnings = predict_newest(tmp_path / "run", str(source)).rows.set_index("symbol")["warning"]
    assert warnings.to_dict() == {"COIN": "", "STOCK": "stale: its last bar is 5 sessions old"}


class TestLabeledTables:
    @pytest.fixture
    def tables(self, write, tmp_path: Path) -> Path:
        source, config = write(NEW_YORK, A=every_15_minutes(30))
        panel = read_panel(source, load_run_config("bars", files=[config]))
        label_panel(TableBuilder(panel, load_run_config("features"), load_run_config("labels")), tmp_path / "tables")
        return tmp_path / "tables"

    def test_a_table_keeps_its_sessions(self, tables: Path, tmp_path: Path) -> None:
        of_tables, of_bars = (plan_of(tables, None), plan_of(tmp_path / "bars", tmp_path / "bars.yaml"))
        assert of_tables.windows == of_bars.windows
        for name in ("train", "validation", "test"):
            pd.testing.assert_frame_equal(
                getattr(windows_of(of_tables), name).X, getattr(windows_of(of_bars), name).X, check_dtype=False
            )
        assert "session" not in windows_of(of_tables).train.X

    def own_table(self, tables: Path, session: pd.Series | None) -> Path:
        table = read_table(tables / "A.parquet").drop(columns="session")
        if session is not None:
            table.insert(1, "session", session)
        (tables.parent / "own").mkdir()
        table.to_parquet(tables.parent / "own" / "A.parquet", index=False)
        return tables.parent / "own"

    @pytest.mark.parametrize("kind", ["dates", "texts", "times", "none"])
    def test_a_table_of_the_user_s_own_says_its_sessions_or_has_dates_in_utc(self, tables: Path, kind: str) -> None:
        dates = read_table(tables / "A.parquet")["session"]
        session = {"dates": dates.dt.date, "texts": dates.dt.strftime("%Y-%m-%d"), "times": dates, "none": None}[kind]
        plan = plan_of(self.own_table(tables, session), None)
        assert len(plan.inputs.sessions) == (30 + 7 * (kind == "none"))  # six Saturdays, and the day after the last

    @pytest.mark.parametrize("kind", ["text", "clock"])
    def test_a_session_that_is_no_date_is_refused(self, tables: Path, kind: str) -> None:
        table = read_table(tables / "A.parquet")
        session = table["timestamp"] if kind == "clock" else table["close"].map("{:.3f}".format)
        with pytest.raises(DataError, match="session"):
            plan_of(self.own_table(tables, session), None)
