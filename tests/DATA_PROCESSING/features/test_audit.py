"""What the audit of a user's features refuses, what it warns of, and what it lets pass."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from textwrap import dedent

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import ConfigError
from DATA_PROCESSING.features.audit import audit
from DATA_PROCESSING.features.build import build_features
from DATA_PROCESSING.features.own import OwnFeatures, load_features
from DATA_PROCESSING.features.table import FEATURES

IMPORTS = """\
import numpy as np
import pandas as pd

from DATA_PROCESSING.features.feature import Feature, lagged
from DATA_PROCESSING.features.windows import rolling_max, rolling_mean
"""
ENOUGH = 60.0  # seconds for every row to be computed alone: what is found does not depend on the machine


def own_features(folder: Path, code: str, lookback: int = 0, recursive: bool = False) -> OwnFeatures:
    """A file with one feature, computed by the function ``f(bars)`` of the code."""
    path = folder / "mine.py"
    row = f'FEATURES = (Feature("mine", f, (), {lookback}, "text", recursive={recursive}),)'
    path.write_text(f"{IMPORTS}\n\n{dedent(code)}\n\n{row}\n")
    return load_features(path)


def refusal(own: OwnFeatures, bars: dict[str, pd.DataFrame], **settings) -> str:
    with pytest.raises(ConfigError) as refused:
        audit(own, bars, **{"seconds": ENOUGH, **settings})
    assert str(refused.value).startswith(f"{own.path}: mine: ")
    return str(refused.value).removeprefix(f"{own.path}: mine: ")


@pytest.fixture(scope="module")
def panel(make_bars) -> dict[str, pd.DataFrame]:
    return {"LONG": make_bars(700, 5), "TICKS": make_bars(300, 2, "ticks"), "SHORT": make_bars(40, 3)}


CHEATS = {
    "the next return": (1, "def f(bars):\n    return np.append(bars.log_return[1:], np.nan)"),
    "the next close, or this one": (
        0,
        "def f(bars):\n    return np.append(bars.close[1:], bars.close[-1]) / bars.close",
    ),
    "a centred mean": (
        4,
        "def f(bars):\n    x = pd.Series(bars.close)\n    return (x / x.rolling(5, center=True).mean()).to_numpy()",
    ),
    "the mean and deviation of all bars": (
        1,
        "def f(bars):\n    x = bars.log_return\n    return (x - np.nanmean(x)) / np.nanstd(x)",
    ),
    "the highest close of all": (0, "def f(bars):\n    return bars.close / bars.close.max()"),
    "the rank among all": (0, "def f(bars):\n    return pd.Series(bars.close).rank(pct=True).to_numpy()"),
    "gaps filled backwards": (
        20,
        "def f(bars):\n    return (pd.Series(bars.close).rolling(20).mean().bfill() / bars.close).to_numpy()",
    ),
    "the slope around": (
        0,
        "def f(bars):\n    return np.gradient(np.log(bars.close)) if bars.close.size > 1 else bars.close * 0",
    ),
    "a line through all": (
        0,
        """
        def f(bars):
            t = np.arange(bars.close.size)
            line = np.polyfit(t, bars.close, 1) if t.size > 2 else (0.0, 1.0)
            return bars.close / np.polyval(line, t) - 1
        """,
    ),
    "the last bar of the month": (
        0,
        """
        def f(bars):
            month = bars.timestamp.astype("datetime64[M]").astype(int)
            return np.append(np.diff(month), 0).astype(float)
        """,
    ),
    "the next bar, after rare bars": (
        1,
        """
        def f(bars):
            after = np.append(bars.log_return[1:], 0.0)
            rare = np.abs(bars.log_return) > 0.15  # not once in the panel
            return np.where(rare, after, bars.log_return)
        """,
    ),
    "crashes to come that were not in the sample": (
        1,
        """
        def f(bars):
            crash = np.append(bars.close[1:] / bars.close[:-1] < 0.3, False)
            return np.where(crash, -1.0, bars.log_return)
        """,
    ),
    "the highest close that was ever seen": (
        0,
        """
        SEEN = {}

        def f(bars):
            highest = SEEN.setdefault(bars.timestamp[0], bars.close.max())
            return bars.close / highest
        """,
    ),
    "the first deviation that was ever seen": (
        1,
        """
        SEEN = []

        def f(bars):
            SEEN.append(np.nanstd(bars.log_return) if bars.close.size > 30 else 1.0)
            return bars.log_return / SEEN[0]
        """,
    ),
    "how many bars there will be": (0, "def f(bars):\n    return np.arange(bars.close.size) / bars.close.size"),
    "the time of the next bar": (
        0,
        "def f(bars):\n    return np.append(np.diff(bars.timestamp).astype(float) / 8.64e13, 1.0)",
    ),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_look_ahead_is_refused_with_its_proof(tmp_path, panel, cheat):
    lookback, code = CHEATS[cheat]
    own = own_features(tmp_path, code, lookback)
    told = refusal(own, panel)
    proof = re.match(
        r"looks ahead: (\w+)(?: with 4 times its moves)? at ([\d: -]+) is (\S+), but (\S+) when the bars (.*)", told
    )
    assert proof, told
    symbol, when, first, second, what = proof.groups()
    assert panel[symbol]["timestamp"].eq(pd.Timestamp(when, tz="UTC")).any()
    assert first != second
    assert re.match(r"(end at|from) \d{4}-\d\d-\d\d", what)


@pytest.mark.parametrize("cheat", ["the next bar, after rare bars", "the last bar of the month"])
def test_recursive_features_are_looked_at_as_closely(tmp_path, panel, cheat):
    lookback, code = CHEATS[cheat]
    assert refusal(own_features(tmp_path, code, lookback, recursive=True), panel).startswith("looks ahead: ")


def test_a_rare_look_ahead_is_found_in_little_time_where_it_matters(tmp_path, make_bars):
    """Once among 3,000 bars, but behind it lies a month's end or a large move; these rows come first."""
    bars = make_bars(3000, 8)
    code = """
        def f(bars):
            month = bars.timestamp.astype("datetime64[Y]").astype(int)
            return np.append(np.diff(month), 0).astype(float)
        """
    assert "looks ahead" in refusal(own_features(tmp_path, code), {"A": bars}, seconds=0.0)


HONEST = {
    "a return": (1, False, "def f(bars):\n    return bars.log_return"),
    "a rolling mean": (9, False, "def f(bars):\n    return bars.close / rolling_mean(bars.close, 10) - 1"),
    "a shift": (3, False, "def f(bars):\n    return bars.close / lagged(bars.close, 3)"),
    "own loops": (
        2,
        False,
        """
        def f(bars):
            out = np.full(bars.close.size, np.nan)
            for row in range(2, out.size):
                out[row] = bars.high[row - 2 : row + 1].max() / bars.close[row]
            return out
        """,
    ),
    "an exponential average": (
        20,
        True,
        "def f(bars):\n    return bars.exponential('mine', bars.close, 20) / bars.close",
    ),
    "an average of a window of an average": (
        28,
        True,
        "def f(bars):\n    x = bars.wilder('mine', bars.true_range, 14) / bars.close\n    return rolling_mean(x, 15)",
    ),
    "only numbers or nothing": (0, False, "def f(bars):\n    return np.log(bars.volume) * 0 + bars.close / bars.low"),
    "the day of the month": (
        0,
        False,
        """
        def f(bars):
            month = bars.timestamp.astype("datetime64[M]").astype("datetime64[D]")
            return (bars.timestamp.astype("datetime64[D]") - month).astype(float)
        """,
    ),
    "a cache by what was computed": (
        1,
        False,
        """
        CACHE = {}

        def f(bars):
            key = bars.close.tobytes()
            if key not in CACHE:
                CACHE[key] = bars.close / lagged(bars.close, 1)
            return CACHE[key].copy()
        """,
    ),
    "the market": (1, False, "def f(bars):\n    return bars.log_return - bars.market_return"),
}


@pytest.mark.parametrize("honest", HONEST)
def test_an_honest_feature_passes_without_a_word(tmp_path, panel, honest, caplog):
    lookback, recursive, code = HONEST[honest]
    market = {symbol: bars.assign(market_return=0.01 * np.sin(np.arange(len(bars)))) for symbol, bars in panel.items()}
    with caplog.at_level(logging.WARNING):
        audit(own_features(tmp_path, code, lookback, recursive), market, FEATURES, seconds=1.0)
    assert not caplog.records


def test_our_own_features_pass(tmp_path, panel, caplog):
    path = tmp_path / "ours.py"
    path.write_text("from DATA_PROCESSING.features.table import FEATURES\n")
    with caplog.at_level(logging.WARNING):
        audit(load_features(path), panel, FEATURES, seconds=0.0)
    assert not caplog.records


@pytest.mark.parametrize(
    ("lookback", "code", "told"),
    [
        (
            0,
            "def f(bars):\n    return 1 / 0",
            r"raises ZeroDivisionError: division by zero \(line 9\) on LONG, 700 bars",
        ),
        (
            0,
            "def f(bars, n):\n    return bars.close",
            r"raises TypeError: f\(\) missing 1 required .* on LONG, 700 bars",
        ),
        (0, "def f(bars):\n    return bars.close / bars.close[1]", r"raises IndexError: .* \(line 9\) on LONG, 1 bar$"),
        (
            0,
            "def f(bars):\n    return bars.close[1:]",
            r"gives an array of shape \(699,\) for LONG, 700 bars; give a value",
        ),
        (
            0,
            "def f(bars):\n    return pd.Series(bars.close)",
            r"gives a Series for LONG, 700 bars; give an array of numpy",
        ),
        (0, "def f(bars):\n    return None", r"gives a NoneType for LONG"),
        (
            0,
            "def f(bars):\n    return bars.close > bars.open",
            r"gives bool for LONG, 700 bars; give float64, as \.astype",
        ),
        (
            0,
            "def f(bars):\n    bars.close[:] = 1.0\n    return bars.open",
            r"changes bars\.close, which other features use",
        ),
        (
            1,
            "def f(bars):\n    x = bars.log_return\n    x[0] = 0.0\n    return x",
            r"changes bars\.log_return, which other",
        ),
        (
            19,
            "def f(bars):\n    x = bars.over('close', rolling_mean, 20)\n    x /= bars.close\n    return x",
            r"differs when computed again: LONG at .* is \S+, then \S+; it must depend on its bars alone",
        ),
        (
            0,
            "def f(bars):\n    return np.random.default_rng().random(bars.close.size)",
            "differs when computed again: LONG",
        ),
        (
            0,
            "CALLS = []\n\ndef f(bars):\n    CALLS.append(1)\n    return bars.close / bars.open * len(CALLS)",
            "differs when computed again: LONG",
        ),
        (
            8,
            "def f(bars):\n    return bars.close / rolling_mean(bars.close, 10)",
            r"needs more than its lookback of 8: \w+ at .* is \S+, but nan from its last 9 bars; raise lookback, or",
        ),
        (
            0,
            "def f(bars):\n    return bars.close / np.maximum.accumulate(bars.close)",
            r"needs more than its lookback of 0: \w+ at .*, but 1 from its last 1 bars; raise lookback, or take",
        ),
        (
            20,
            "def f(bars):\n    return pd.Series(bars.close).ewm(span=20).mean().to_numpy() / bars.close",
            "needs more than its lookback of 20: .* with recursive=True, for what remembers all bars",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(tmp_path, panel, lookback, code, told):
    assert re.match(told, refusal(own_features(tmp_path, code, lookback), panel))


@pytest.mark.parametrize(
    "code",
    [
        "def f(bars):\n    return bars.close / np.maximum.accumulate(bars.close)",
        "def f(bars):\n    return rolling_max(bars.exponential('mine', bars.close, 5), 60) / bars.close",
    ],
)
def test_memory_outside_the_averages_of_the_view_is_refused(tmp_path, panel, code):
    told = refusal(own_features(tmp_path, code, lookback=5, recursive=True), panel)
    assert told.startswith("differs when built in pieces: LONG at ")


def test_a_series_that_is_called_as_one_of_ours_is_refused(tmp_path, panel):
    code = "def f(bars):\n    return bars.exponential('close', bars.high, 20) / bars.close"
    told = refusal(own_features(tmp_path, code, lookback=19, recursive=True), panel, beside=FEATURES)
    assert "(close exponential 20); give it a name of its own" in told
    same = own_features(tmp_path, code.replace("bars.high", "bars.close"), lookback=19, recursive=True)
    audit(same, panel, FEATURES, seconds=0.0)


def test_a_level_is_doubted_and_so_are_running_sums_and_nothing_at_all(tmp_path, panel, caplog):
    level = "def f(bars):\n    return bars.close"
    sums = "def f(bars):\n    return (pd.Series(bars.close).rolling(10).mean() / bars.close).to_numpy()"
    nothing = "def f(bars):\n    return np.full(bars.close.size, np.nan)"
    for code, lookback, told in (
        (level, 0, "mine: is no ratio: LONG at "),
        (sums, 9, "mine: the last digits depend on bars that should not count (LONG at "),
        (nothing, 0, "mine: no value in 700 bars"),
    ):
        caplog.clear()
        audit(own_features(tmp_path, code, lookback), panel, seconds=1.0)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert told in caplog.text


def test_every_refused_feature_is_told(tmp_path, panel):
    path = tmp_path / "mine.py"
    path.write_text(
        f"{IMPORTS}\n\ndef f(bars, n):\n    return np.roll(bars.close, -n) / bars.close\n\n"
        'FEATURES = tuple(Feature(f"roll_{n}", f, (n,), 0, "x") for n in range(3))\n'
    )
    with pytest.raises(ConfigError) as refused:
        audit(load_features(path), panel)
    lines = str(refused.value).splitlines()
    assert [line.split(": ")[1:3] for line in lines] == [["roll_1", "looks ahead"], ["roll_2", "looks ahead"]]


@pytest.mark.parametrize("rows", [0, 1, 2, 3])
def test_few_bars_can_be_audited(tmp_path, make_bars, rows):
    honest = own_features(tmp_path, "def f(bars):\n    return bars.close / bars.open")
    audit(honest, {"A": make_bars(rows, 0)}, FEATURES)
    audit(honest, {})


def test_the_bars_stay_as_they_are(tmp_path, panel):
    before = build_features(panel["LONG"])
    copies = {symbol: bars.copy() for symbol, bars in panel.items()}
    refusal(own_features(tmp_path, "def f(bars):\n    bars.close[:] = 1.0\n    return bars.open"), panel)
    for symbol, bars in panel.items():
        pd.testing.assert_frame_equal(bars, copies[symbol])
    pd.testing.assert_frame_equal(build_features(panel["LONG"]), before)
