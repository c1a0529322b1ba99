from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from TRAINING.reports.html import render_report
from TRAINING.reports.panels import PLOTTED_MODELS, Order

FRAMES = ("leaderboard", "units", "returns", "symbol_returns", "importance", "curves", "calibration", "quality")
VOID = {"meta", "link", "br", "hr", "img", "input"}
SECTIONS = ("leaderboard", "money", "features", "learning", "calibration", "symbols", "quality", "failures",
            "survivorship", "reading", "settings")  # fmt: skip


class Page(HTMLParser):
    """Checks that tags balance and gathers what the tests ask about."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.styles: list[str] = []
        self.tags: list[str] = []
        self.words: dict[str, str] = {}
        self.section = ""
        self.feed(page)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.handle_startendtag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        values = dict(attributes)
        assert len(values) == len(attributes), f"an attribute twice in <{tag}>: {attributes}"
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src", "xlink:href", "action", "data") if name in values]
        self.styles += [values[name] for name in ("style", "clip-path") if values.get(name)]
        if tag == "section":
            self.section = values["id"]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        self.words[self.section] = self.words.get(self.section, "") + data


@pytest.fixture(scope="module")
def page(frames) -> str:
    return render_report(**frames)


@pytest.fixture(scope="module")
def small(make) -> dict:
    inputs = make(["AAPL", "GOOG", "IBM", "MSFT"], models=("lightgbm",), sessions=20)
    inputs["symbol_returns"] = inputs["symbol_returns"][inputs["symbol_returns"]["symbol"] == "AAPL"]
    return inputs


@pytest.fixture(scope="module")
def large_page(many) -> str:
    return render_report(**many)


def test_the_page_is_well_formed_with_every_section_and_unique_ids(page):
    found = Page(page)
    assert set(SECTIONS) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    local = {link.removeprefix("#") for link in found.links} | set(re.findall(r"url\(#([^)]+)\)", page))
    assert local <= set(found.ids)


def test_nothing_is_loaded_from_anywhere(page):
    found = Page(page)
    assert all(link.startswith("#") for link in found.links)
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & set(found.tags)
    assert "http://" not in page
    assert "https://" not in page
    assert "@import" not in page
    assert set(re.findall(r"url\((.)", page)) <= {"#"}


def test_the_same_frames_give_the_same_bytes_and_stay_as_they_are(frames, page):
    before = {name: frames[name].copy() for name in FRAMES}
    assert render_report(**frames) == page
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frames[name], frame)


def test_a_shuffled_input_gives_the_same_page(frames, page):
    shuffled = {name: frames[name].sample(frac=1, random_state=1) for name in FRAMES if name != "leaderboard"}
    assert render_report(**(frames | shuffled)) == page


def test_all_pictures_are_drawn_once_per_model_and_target(page):
    labels = re.findall(r'aria-label="([^"]+)"', page)
    for start, count in (("Growth after costs", 4), ("Feature importance", 4), ("log loss of", 4),
                         ("Predicted against", 4), ("Close, position", 4), ("Dates covered", 2)):  # fmt: skip
        assert sum(label.startswith(start) for label in labels) == count, start


def test_pictures_follow_the_page_into_the_dark(page):
    pictures = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--ink)" in pictures
    assert not re.findall(r"#[0-9a-f]{6}", pictures)
    assert "prefers-color-scheme: dark" in page


HOSTILE = ["<b>bold</b>", "</script><script>alert(1)</script>", '"><img src=x onerror=a>', "../x", "a & b", "$x_1$",
           "'--", "日本 €", '#0072b2 style="" d="1.234"']  # fmt: skip


def test_names_and_texts_are_escaped(make):
    inputs = make(HOSTILE, models=(HOSTILE[1],), sessions=20)
    inputs |= {"title": HOSTILE[1], "meta": {name: name for name in HOSTILE}, "notes": HOSTILE}
    skipped = inputs["units"]["status"] == "skipped"
    inputs["units"] = inputs["units"].assign(reason=HOSTILE[0]).assign(notes=HOSTILE[2])
    inputs["units"]["status"] = np.where(skipped, HOSTILE[1], "done")
    inputs["quality"] = inputs["quality"].assign(reasons=HOSTILE[2], bad_rows=1)
    inputs["importance"] = inputs["importance"].replace({"feature_1": HOSTILE[0]})
    found = Page(render_report(**inputs))
    assert found.tags.count("script") == 1
    assert "img" not in found.tags
    assert found.tags.count("b") == 1 + found.tags.count("figure")  # the brand and the captions
    for name in HOSTILE:
        assert name in found.words[""]
        assert name in found.words["settings"]
        assert name in found.words["quality"]
    for place, section in ((1, "leaderboard"), (1, "money"), (0, "features"), (8, "symbols"), (0, "failures")):
        assert HOSTILE[place] in found.words[section], section


@pytest.mark.parametrize("columns", [True, False])
def test_empty_frames_give_a_page_that_says_why(frames, columns):
    empty = {name: frames[name].iloc[:0] if columns else pd.DataFrame() for name in FRAMES}
    found = Page(render_report(title="empty", meta={}, notes=[], **empty))
    for section in SECTIONS:
        assert section in found.words
    for section, said in (("leaderboard", "No model"), ("money", "nothing was traded"), ("features", "No feature"),
                          ("learning", "No learning"), ("calibration", "No calibration"), ("symbols", "No symbol"),
                          ("quality", "No quality"), ("failures", "No unit"), ("settings", "No settings")):  # fmt: skip
        assert said in found.words[section]
    assert "No model was scored" in found.words[""]


@pytest.mark.parametrize("absent", FRAMES)
def test_any_one_frame_may_be_missing(small, absent):
    Page(render_report(**(small | {absent: pd.DataFrame()})))


def test_missing_values_are_dashes_never_nan(frames):
    holes = {}
    for name in FRAMES:
        frame = frames[name].copy()
        numeric = frame.select_dtypes("number").columns.difference(["rank"])
        frame[numeric] = frame[numeric].astype(float)
        frame.loc[np.arange(len(frame)) % 3 == 0, numeric] = np.nan
        holes[name] = frame
    words = "".join(Page(render_report(**(frames | holes))).words.values())
    assert not re.findall(r"\b(nan|NaN|NaT|None|inf)\b", words.split("Sorting by a click")[0])
    assert "–" in words


@pytest.mark.parametrize("name", [name for name in FRAMES if name not in ("leaderboard", "units")])
def test_a_frame_of_nothing_but_missing_numbers_is_no_error(small, name):
    frame = small[name].copy()
    numeric = frame.select_dtypes("number").columns
    frame[numeric] = np.nan
    Page(render_report(**(small | {name: frame})))


def test_505_symbols_stay_light_and_complete(large_page, many):
    assert len(large_page.encode()) < 5e6
    found = Page(large_page)
    assert "S000" in found.words["symbols"]
    assert "S504" in found.words["symbols"]
    assert "per symbol on" in large_page  # distributions, which five symbols do not have
    skipped = (many["units"]["status"] == "skipped").sum()
    assert f"skipped{skipped}too few rows: 3 of 200 (and alike)" in found.words["failures"].replace("\n", "")


def test_few_symbols_have_no_distribution(page):
    assert "per symbol on" not in page


def test_the_leaderboard_is_shown_in_its_order_with_marks(page, frames):
    words = Page(page).words["leaderboard"]
    assert "∞" in words  # the first model's profit factor
    assert "Undefined values (–): " in words
    for _, rows in frames["leaderboard"].groupby("target"):
        tables = re.findall(r'<table class="board">.*?</table>', page, re.DOTALL)
        shown = [re.findall(r"</i>([^<]+)</th>", table) for table in tables]
        assert rows["model"].tolist() in shown


def test_symbols_are_listed_best_sharpe_first_missing_last(page):
    table = re.search(r'<table class="sortable">.*?</table>', page, re.DOTALL)[0]
    heads = re.findall(r"<th[^>]*>([^<]*)</th>", table)
    rows = [re.findall(r"<td[^>]*>([^<]*)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", table)[1:]]
    sharpes = [float(row[heads.index("Sharpe")].replace("−", "-")) for row in rows]
    assert len(sharpes) == 4
    assert all(a >= b for a, b in pairwise(sharpes))


def test_failures_are_counted_and_units_without_a_model_are_those_of_reading(frames):
    unread = pd.DataFrame(
        {"model": [""], "target": [""], "symbol": ["BAD"], "status": ["failed"], "reason": ["no close"]}
    )
    inputs = frames | {"units": pd.concat([frames["units"], unread])}
    words = Page(render_report(**inputs)).words["failures"].replace("\n", "")
    assert "failed1no closereading the dataBAD" in words
    assert "skipped4too few rows: 3 of 200lightgbm on fwd_ret_5" in words
    assert "remark4the validation rows have one class" in words


def test_quality_shows_columns_it_does_not_know(page):
    words = Page(page).words["quality"]
    assert "something new" in words
    assert "high below low: 3" in words


def test_a_single_round_makes_no_learning_curve(small) -> None:
    page = Page(render_report(**small | {"curves": small["curves"][small["curves"]["round"] == 1]}))
    assert "no trained model records more than one round" in page.words["learning"]
    assert "early stopping kept" in Page(render_report(**small)).words["learning"]


def test_models_of_one_picture_have_colours_of_their_own() -> None:
    names = [f"model{number}" for number in range(2 * PLOTTED_MODELS)]
    led = {"t": names, "u": names[PLOTTED_MODELS - 2 :] + names[: PLOTTED_MODELS - 2]}
    rows = [{"target": target, "model": name, "kind": "model"} for target, models in led.items() for name in models]
    order = Order.of(pd.DataFrame(rows))
    for models in led.values():
        assert len({order.colour(name) for name in models[:PLOTTED_MODELS]}) == PLOTTED_MODELS
    assert len(order.colours) == len(names)
