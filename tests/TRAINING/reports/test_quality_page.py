"""The page of ``barzoo data check``: complete, self-contained, escaped, bounded."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from CONFIG.config_loader import load_run_config
from DATA_PROCESSING.bars import read_table
from DATA_PROCESSING.panel import Panel, UnusableSource, build_panel
from DATA_PROCESSING.quality import examine
from TRAINING.reports import quality
from TRAINING.reports.quality import SAMPLES, render_quality

PRICES = ["open", "high", "low", "close"]
SECTIONS = ("overview", "symbols", "splits", "gaps", "bad-rows", "volume", "stale-prices", "outliers", "level-shifts",
            "intervals", "settings")  # fmt: skip
HOSTILE = ["<b>bold</b>", "<script>alert(1)</script>", '"><img src=x onerror=a>', "a & b", "$x_1$", "日本"]


class Page(HTMLParser):
    """The words of each section; tags must balance."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: dict[str, str] = {}
        self.section = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values[name] for name in ("href", "src", "xlink:href") if name in values]
        self.section = values["id"] if tag == "section" else self.section
        if tag not in ("meta", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words[self.section] = self.words.get(self.section, "") + data


def panel_of(tables: dict[str, pd.DataFrame], problems: dict[str, str] | None = None, **overrides) -> Panel:
    table = pd.concat([frame.assign(symbol=symbol) for symbol, frame in tables.items()])
    settings = load_run_config("bars", overrides)
    return build_panel("x", read_table(table, "x", ""), problems or {}, settings, pd.Timestamp("2030-01-01", tz="UTC"))


def render(panel: Panel, **overrides) -> str:
    found = examine(panel)
    return render_quality(
        title="data check", settings=load_run_config("bars", overrides), symbols=found.symbols,
        bad_rows=panel.bad_rows, splits=panel.splits, gaps=found.gaps, stale_prices=found.stale_prices,
        outliers=found.outliers, level_shifts=found.level_shifts, interval_changes=found.interval_changes,
        coverage=found.coverage,
    )  # fmt: skip


@pytest.fixture(scope="module")
def dirty() -> dict[str, pd.DataFrame]:
    """Six symbols with a finding of each kind."""
    random = np.random.default_rng(0)
    tables = {}
    for symbol in "ABCDEF":
        close = 100 * np.exp(np.cumsum(random.normal(0, 0.01, 200)))
        frame = pd.DataFrame({"timestamp": pd.bdate_range("2019-01-01", periods=200, tz="UTC"), "close": close})
        frame["open"] = np.append(100, close[:-1])
        frame["high"] = frame[["open", "close"]].max(axis=1) * 1.004
        frame["low"] = frame[["open", "close"]].min(axis=1) * 0.996
        tables[symbol] = frame.assign(volume=1000.0)
    tables["A"] = tables["A"].drop(index=range(50, 60))
    tables["B"].loc[100:, PRICES] /= 2
    tables["B"].loc[100:, "volume"] *= 2
    tables["C"].loc[50:56, PRICES] = 90.0
    tables["C"].loc[120, "volume"] = 0.0
    tables["D"].loc[80, "high"] *= 2
    tables["D"].loc[90:93, "low"] = 1e6
    weekly = pd.date_range(tables["E"]["timestamp"][99], periods=101, freq="7D")
    tables["E"].loc[99:, "timestamp"] = weekly
    tables["F"].loc[150:, PRICES] *= 100
    return tables


@pytest.fixture(scope="module")
def page(dirty) -> str:
    return render(panel_of(dirty, {"G": "G.csv: cannot be read"}))


def test_every_finding_is_on_the_page(page):
    found = Page(page)
    assert set(SECTIONS) <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert all(link.startswith("#") for link in found.links)
    assert {link[1:] for link in found.links} | set(re.findall(r"url\(#([^)]+)\)", page)) <= set(found.ids)
    assert "http" not in page.replace("http-equiv", "")
    for section, said in (("symbols", "G.csv: cannot be read"), ("splits", "2:1"), ("splits", "left as it is"),
                          ("gaps", "2019-03-12"), ("bad-rows", "high below low"), ("volume", "0.5%"),
                          ("stale-prices", "7"), ("outliers", "high"), ("level-shifts", "9,9"), ("intervals", "7d"),
                          ("settings", "adj_close")):  # fmt: skip
        assert said in found.words[section], section
    assert "6 of 7 symbols are usable, 1 is not; 6 of the usable call for a look." in page
    assert found.words["bad-rows"].count("high below low") == SAMPLES < 4
    assert page.count("Share of the expected bars") == 2
    assert not re.findall(r"\b(nan|NaN|NaT|None)\b", "".join(found.words.values()).split("Sorting by")[0])


def test_pictures_follow_the_page_into_the_dark(page):
    pictures = "".join(re.findall(r"<svg.*?</svg>", page, re.DOTALL))
    assert "var(--orange)" in pictures
    assert "var(--blue)" in pictures
    assert not re.findall(r"#[0-9a-f]{6}", pictures)


def test_the_same_panel_gives_the_same_bytes(page, dirty):
    assert render(panel_of(dirty, {"G": "G.csv: cannot be read"})) == page


def test_clean_bars_say_so_in_every_section(dirty):
    found = Page(render(panel_of({"F": dirty["F"][:150]})))
    for section, said in (("splits", "No overnight move"), ("gaps", "No session is missing"),
                          ("bad-rows", "Every row is"), ("volume", "Every bar has"), ("stale-prices", "No price stays"),
                          ("outliers", "No price stands"), ("level-shifts", "No session opens"),
                          ("intervals", "Every symbol keeps")):  # fmt: skip
        assert said in found.words[section]
    assert "The symbol is usable; all is well." in found.words[""]


@pytest.mark.parametrize(
    ("usable", "symbols", "with_findings", "said"),
    [
        (1, 1, 1, "The symbol is usable; it calls for a look."),
        (5, 5, 0, "All 5 symbols are usable; all is well."),
        (5, 5, 1, "All 5 symbols are usable; 1 of them calls for a look."),
        (1, 2, 0, "1 of 2 symbols is usable, 1 is not; nothing else calls for a look."),
        (3, 1006, 2, "3 of 1,006 symbols are usable, 1,003 are not; 2 of the usable call for a look."),
        (0, 1, 0, "The symbol is not usable."),
    ],
)
def test_the_headline(usable, symbols, with_findings, said):
    assert quality._headline(usable, symbols, with_findings) == said


def test_bad_rows_are_shown_with_all_their_digits_and_their_texts(dirty):
    rows = dirty["F"][:3].assign(high=300.0, close=[100.8, 100.80000001, 99.0], row=0)
    panel = panel_of({"A": pd.concat([dirty["F"][:9], rows[:1], rows[1:2].assign(timestamp=rows["timestamp"][0])])})
    assert panel.bad_rows["reason"].nunique() == 1
    given = ['{"close": "oops", "timestamp": "soon"}', "", '{"close": 1}']
    bad_rows = panel.bad_rows.assign(given=given, volume=[0.25, 1234.0, 1.0])
    bad_rows.loc[0, ["close", "timestamp"]] = np.nan, pd.NaT
    made = render(replace(panel, bad_rows=bad_rows))
    cells = re.findall("<td[^>]*>([^<]*)</td>", made.split('id="bad-rows"')[1].split("</section>")[0])
    assert {"oops", "soon", "100.8", "100.80000001", "0.25", "1,234", "1", "10", "11"} <= {*cells}
    assert "–" not in cells
    assert "from 1 below the header" in made


def test_what_nothing_was_adjusted_by_is_not_named(dirty):
    plain, adjusted = dirty["A"], dirty["A"].assign(adj_close=dirty["A"]["close"])
    facts = [
        Page(render(panel_of({"A": table}, adjust=adjust), adjust=adjust)).words[""]
        for table, adjust in ((plain, "adj_close"), (plain, "infer"), (plain, "none"), (adjusted, "adj_close"))
    ]
    said = [re.search("adjusted by(.*?)bad rows", text.replace("\n", ""))[1] for text in facts]
    assert said == [
        "nothing: there is no adj_close",
        "nothing: there is no adj_close and no split",
        "none",
        "adj_close",
    ]


def test_resampled_bars_say_what_the_rows_are(dirty):
    table = {"A": dirty["B"]}
    assert "of the 1w bars" in Page(render(panel_of(table, resample="1w"), resample="1w")).words["symbols"]
    assert "joined to" not in Page(render(panel_of(table))).words["symbols"]


def test_lines_of_a_table_stay_with_a_column_that_does(page):
    assert "table { border-collapse: separate" in page  # browsers leave collapsed lines behind


def test_a_source_without_a_usable_bar(dirty):
    with pytest.raises(UnusableSource) as caught:
        panel_of({"A": dirty["A"].assign(low=-1.0), "B": dirty["B"].assign(low=-1.0)})
    found = Page(render(caught.value.panel))
    assert "None of 2 symbols is usable." in found.words[""]
    assert "190 price not above zero" in found.words["symbols"]
    assert "There is no bar to show." in found.words["overview"]


def test_names_and_texts_are_escaped(dirty):
    tables = {symbol: dirty["D"].assign(volume=0.0) for symbol in HOSTILE}
    made = render(panel_of(tables, {"Z": HOSTILE[1]}))
    words = Page(made).words
    for symbol in HOSTILE:
        assert symbol in words["symbols"]
    assert made.count("<script>") == 1


def test_many_symbols_stay_light(dirty, monkeypatch):
    monkeypatch.setattr(quality, "SYMBOL_ROWS", 100)
    monkeypatch.setattr(quality, "EVENT_ROWS", 20)
    frame = dirty["A"][:40]
    tables = {f"S{number:03}": frame.drop(index=20) for number in range(50)}
    tables |= {f"W{number:03}": frame for number in range(75)}
    found = Page(render(panel_of(tables)))
    assert "25 more symbols are left out" in found.words["symbols"]
    assert "S049" in found.words["symbols"]  # those with findings come first
    assert "30 more are left out" in found.words["gaps"]
    assert "a line is 2 to 3 symbols" in found.words["overview"]
