from __future__ import annotations

import re
import struct
import threading
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from TRAINING.reports import plots, style
from TRAINING.reports.columns import number, percent, short, signed, typeset
from TRAINING.reports.hero import hero_picture
from TRAINING.reports.plots import Line


def a_line(figure):
    axis = style.axes(figure, 40, 10, 380, 200)
    axis.plot([1, 2, 3], color=style.LIGHT["blue"], marker="o")
    axis.set_title('<a> & $b$ style="#0072b2"')


def test_svg_is_well_formed_with_variables_for_colours_and_texts_untouched():
    drawn = style.svg(a_line, 400, 240, name="one", label='"<x>"')
    root = ElementTree.fromstring(str(drawn))
    assert root.attrib["viewBox"] == "0 0 400 240"
    assert root.attrib["aria-label"] == '"<x>"'
    assert "stroke: var(--blue)" in drawn
    assert '<a> & $b$ style="#0072b2"' in [text.text for text in root.iter("text")]


def test_svg_is_the_same_every_time_and_its_ids_are_its_own():
    first, again, other = (style.svg(a_line, 400, 240, name=name, label="") for name in ("one", "one", "two"))
    assert first == again
    ids = [set(re.findall(r'id="([^"]+)"', drawn)) for drawn in (first, other)]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_drawing_leaves_matplotlibs_settings_alone_and_ignores_the_users():
    plain = style.svg(a_line, 400, 240, name="one", label="")
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        assert style.svg(a_line, 400, 240, name="one", label="") == plain
    assert dict(mpl.rcParams) == before


def test_drawing_in_threads_gives_the_same_pictures():
    alone = {name: style.svg(a_line, 400, 240, name=name, label="") for name in "abcd"}
    drawn = {}
    threads = [
        threading.Thread(
            target=lambda name=name: drawn.update({name: style.svg(a_line, 400, 240, name=name, label="")})
        )
        for name in alone
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == alone


def test_light_colours_are_unique_and_dark_ones_exist():
    assert len(set(style.LIGHT.values())) == len(style.PALETTE)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for pair in style.PALETTE.values() for colour in pair)


def contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
def test_text_and_lines_stand_out_on_their_ground(theme):
    ground = [style.PALETTE[name][theme] for name in ("page", "card")]
    for name in ("ink", "muted"):
        assert all(contrast(style.PALETTE[name][theme], under) >= 4.5 for under in ground)
    for name in style.SERIES:
        assert all(contrast(style.PALETTE[name][theme], under) >= 2.8 for under in ground), name


def test_growth_and_drawdown_by_hand():
    line = Line("x", pd.Series([0.1, np.nan, -0.5, 1.0]), "blue")
    np.testing.assert_allclose(line.growth, [1.1, 0.55, 1.1])
    np.testing.assert_allclose(line.drawdown, [0, -0.5, 0])
    falling = Line("x", pd.Series([-0.2, 0.1]), "blue")
    np.testing.assert_allclose(falling.drawdown, [-0.2, -0.12])


def growing(total: float) -> Line:
    days = pd.bdate_range("2020-01-01", periods=50)
    return Line("x", pd.Series(total ** (1 / 50) - 1, index=days), "blue")


def test_equity_turns_logarithmic_only_where_it_must():
    linear, logarithmic = (plots.equity([growing(total)], name="e", label="", narrow=True) for total in (1.5, 20.0))
    assert "×" not in linear
    assert ">10×<" in logarithmic


def test_a_total_loss_can_be_drawn():
    days = pd.bdate_range("2020-01-01", periods=3)
    ruined = Line("x", pd.Series([4.0, -1.0, 0.5], index=days), "blue")
    assert "×" not in plots.equity([ruined], name="e", label="", narrow=True)


def test_importance_shows_the_strongest_in_order():
    frame = pd.DataFrame({"feature": [f"f{i:02d}" for i in range(40)], "importance": np.arange(40) / 780})
    drawn = plots.importance(frame, colour="blue", name="i", label="")
    assert re.findall(r">(f\d\d)<", drawn) == [f"f{i}" for i in range(39, 19, -1)]


@pytest.mark.parametrize("rows", [1, 2, 10])
@pytest.mark.parametrize("task", ["binary", "regression"])
def test_calibration_of_few_bins(task, rows):
    bins = pd.DataFrame({"predicted": np.full(rows, 0.2), "observed": np.full(rows, 0.2), "rows": 5})
    assert "<svg" in plots.calibration(bins, task=task, colour="blue", name="c", label="")


def test_a_wild_symbol_does_not_squeeze_the_distribution():
    values = np.append(np.linspace(-1, 1, 300), 1e6)
    drawn = plots.distributions({"m": values}, {"m": "blue"}, metric="sharpe", reference=0.0, name="d", label="")
    assert not re.search(r">\d{3,}<", drawn)
    assert "50% above 0" in drawn


@pytest.mark.parametrize("count", [1, 30, 31, 505])
def test_coverage_names_few_symbols_and_counts_many(count):
    quality = pd.DataFrame({"symbol": [f"S{i}" for i in range(count)], "last": pd.Timestamp("2020-01-01")})
    quality["first"] = pd.Timestamp("2010-01-01") + pd.to_timedelta(np.arange(count), "D")
    drawn = plots.coverage(quality, name="c", label="", narrow=False)
    assert (">S0<" in drawn) == (count <= 30)


@pytest.mark.parametrize("name", ["short", "a" * 24, "b" * 60])
def test_long_names_lose_their_middle(name):
    shown = plots.shorten(name, 24)
    assert len(shown) <= 24
    assert (shown == name) == (len(name) <= 24)
    assert (shown[0], shown[-1]) == (name[0], name[-1])


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (number(np.nan), "–"), (number(None), "–"), (number(-0.001), "0.00"), (number(-1234.567), "-1,234.57"),
        (number(np.inf), "inf"), (number(-np.inf), "-inf"), (percent(0.1234), "12.3%"), (percent(-0.00001), "0.0%"),
        (percent(np.nan), "–"), (short(0.0345), "0.03450"), (short(1234.0), "1234"), (signed(0.5), "+50.0%"),
        (signed(-0.5), "−50.0%"), (typeset("-inf"), "−∞"),
    ],
)  # fmt: skip
def test_numbers_are_written_plainly(written, expected):
    assert written == expected


def test_the_hero_picture_is_a_png_of_1600_by_900_the_same_every_time(frames):
    pictures = [hero_picture(frames["leaderboard"], frames["returns"], title="demo") for _ in range(2)]
    assert pictures[0] == pictures[1]
    assert pictures[0][:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", pictures[0][16:24]) == (1600, 900)


def test_the_hero_picture_of_nothing_is_still_a_picture():
    assert hero_picture(pd.DataFrame(), pd.DataFrame(), title="nothing")[:4] == b"\x89PNG"
