"""The walk-forward's page, Markdown and CSVs from synthetic frames."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from TRAINING.reports import walkforward_tables
from TRAINING.reports.plots import Line
from TRAINING.reports.walkforward import Summary, conclusions, markdown, render, tables, write_report
from TRAINING.reports.walkforward_plots import _thin as thin

DAYS = pd.bdate_range("2020-01-01", periods=240)
NAMES = {"y_up": ("gbm", "tree", "base_rate", "buy_and_hold"), "path": ("gbm", "tree", "mean")}
METRICS = {"y_up": ("auc", "log_loss"), "path": ("rank_ic", "rmse")}


def scores(random: np.random.Generator, by: str, parts: list) -> pd.DataFrame:
    """What a breakdown gives: the base rate's Sharpe ratio is undefined, and tree was not tested on the last part."""
    rows = []
    for target, names in NAMES.items():
        for part in parts:
            for name in names:
                if name == "tree" and part == parts[-1]:
                    continue
                sharpe = np.nan if target == "path" or name == "base_rate" else random.normal()
                score = np.nan if name == "buy_and_hold" else random.uniform(0.4, 0.6)
                reason = {"base_rate": "sharpe, sortino: the returns do not vary", "mean": "sharpe: no money"}.get(name)
                rows.append({"target": target, by: part, "model": name, "sharpe": sharpe, "auc": score,
                             "rank_ic": score, "rmse": score, "log_loss": score, "reason": reason or ""})  # fmt: skip
    return pd.DataFrame(rows)


def make_summary(symbols: int = 5, folds: int = 4) -> Summary:
    random = np.random.default_rng(3)
    board, pairs, wins = [], [], []
    for target, names in NAMES.items():
        for rank, name in enumerate(names, start=1):
            model, traded = name in ("gbm", "tree"), target == "y_up" and name != "base_rate"
            board.append(
                {
                    "rank": rank, "model": name, "target": target, "kind": "model" if model else "baseline",
                    "symbols": symbols, "score_name": METRICS[target][0], "score": 0.55,
                    "loss_name": METRICS[target][1], "loss": 0.6, "sharpe": 2.0 - rank if traded else np.nan,
                    "sharpe_low": 1.0 - rank if traded else np.nan, "sharpe_high": 3.0 - rank if traded else np.nan,
                    "annual_return": 0.1 if traded else np.nan, "max_drawdown": -0.2 if traded else np.nan,
                    "turnover": 3.0 if traded else np.nan, "beats_score": names[2] if name == "gbm" else "",
                    "beats_money": "", "reason": "" if traded else "Sharpe: the returns do not vary",
                    "method": "cross-section", "information": 0.03, "t_statistic": 2.5,
                    "psr": 0.9 if traded else np.nan, "dsr": 0.7 if traded and model else np.nan, "trials": 12,
                    "rival": names[2] if model else np.nan, "dm_p": 0.0001 if model else np.nan,
                }
            )  # fmt: skip
            for rival in names[2:] if model else ():
                pairs.append({"target": target, "model": name, "rival": rival, "kind": "baseline", "rival_loss": 0.5,
                              "loss_gain": 0.01, "loss_low": 0.005, "loss_high": 0.015, "better_loss": True,
                              "dm_statistic": 4.0, "dm_p": 0.0001, "sharpe_gain": 0.5 if target == "y_up" else np.nan,
                              "sharpe_low": -0.25, "sharpe_high": 1.25, "better_sharpe": False,
                              "reason": "" if target == "y_up" else "sharpe: nothing to trade"})  # fmt: skip
                wins.append({"target": target, "model": name, "rival": rival, "metric": METRICS[target][0],
                             "folds": folds, "better": folds - 1, "share": 1 - 1 / folds})  # fmt: skip
    each = [(target, name) for target, names in NAMES.items() for name in names]
    models = [pair for pair in each if pair[1] in ("gbm", "tree")]
    traded = [pair for pair in each if pair[0] == "y_up"]
    starts = DAYS[:: len(DAYS) // folds][:folds]
    windows = pd.DataFrame({"fold": range(folds), "symbol": "", "train_start": starts - pd.Timedelta("300D")})
    windows = windows.assign(validation_start=starts - pd.Timedelta("60D"), train_end=starts - pd.Timedelta("1D"),
                             test_start=starts, test_end=starts + pd.Timedelta("50D"), notes="")  # fmt: skip
    status = ["done"] * (folds - 1) + ["failed"]
    windows = windows.assign(status=status, reason=["" if s == "done" else "one class only" for s in status])
    growth = [pd.DataFrame({"target": t, "model": m, "session": DAYS, "net_return": random.normal(0.001, 0.01, 240)})
              for t, m in traded]  # fmt: skip
    fold_scores = scores(random, "fold", list(range(folds)))
    fold_scores["start"] = fold_scores["fold"].map(dict(enumerate(starts)))
    return Summary(
        facts={"models": "gbm, tree", "targets": "y_up, path", "symbols": f"{symbols}", "tested": "2020",
               "folds": "4", "train / test / step": "300 / 50 / 50", "costs": "5 bps"},
        settings={"data (sha256)": "cafe", "gbm on y_up": "config 12\nleaves 7"},
        notes=["the last 3 sessions are in no test window yet"],
        leaderboard=pd.DataFrame(board),
        comparisons=pd.DataFrame(pairs),
        overfitting=pd.DataFrame({"target": ["y_up"], "strategies": [2], "effective": [1.5], "sessions": [240],
                                  "probability": [0.4], "loss_probability": [0.1], "reason": [""]}),
        folds=pd.concat([windows.assign(target=t, model=m) for t, m in models], ignore_index=True),
        fold_scores=fold_scores,
        fold_wins=pd.DataFrame(wins),
        returns=pd.concat([frame.assign(gross_return=frame["net_return"] + 0.0002) for frame in growth]),
        bands=pd.DataFrame({"target": "y_up", "model": "gbm", "session": DAYS[::20], "low": 0.9, "high": 1.4}),
        information=pd.concat(
            pd.DataFrame({"target": t, "model": m, "session": DAYS[60::20], "sessions": 60, "rank_ic": 0.02,
                          "low": -0.01, "high": 0.05}) for t, m in each if m != "buy_and_hold"),
        calibration=pd.concat(
            pd.DataFrame({"target": t, "model": m, "task": "binary" if t == "y_up" else "regression",
                          "predicted": np.linspace(0.1, 0.9, 10), "observed": np.linspace(0.2, 0.8, 10), "rows": 50,
                          "low": 0.1 if t == "y_up" else np.nan, "high": 0.9 if t == "y_up" else np.nan})
            for t, m in each if m != "buy_and_hold"),
        importance=pd.concat(
            pd.DataFrame({"target": t, "model": m, "feature": [f"f{i}" for i in range(30)],
                          "mean": np.linspace(0.2, 0.01, 30), "low": 0.0, "high": 0.3, "top": 0.5, "folds": folds})
            for t, m in models),
        agreement=pd.DataFrame([{"target": t, "model": m, "fold": 1, "rank_correlation": 0.4} for t, m in models]),
        costs=pd.DataFrame([{"target": t, "model": m, "cost_bps": bps, "sharpe": 1 - bps / 20, "annual_return": 0.1,
                             "max_drawdown": -0.1, "reason": ""} for t, m in traded for bps in (0.0, 5.0, 10.0, 20.0)]),
        symbols=scores(random, "symbol", [f"S{i:03d}" for i in range(symbols)]),
        years=scores(random, "year", [2020, 2021]),
        regimes=scores(random, "regime", ["calm", "turbulent"]),
        audit=pd.DataFrame(columns=["check", "verdict", "reason"]),
    )  # fmt: skip


@pytest.fixture(scope="module")
def summary() -> Summary:
    return make_summary()


@pytest.fixture(scope="module")
def page(summary: Summary) -> str:
    return render(summary)


class Reader(HTMLParser):
    """The ids, links and tables of a page, and whether its tags are closed."""

    def __init__(self, page: str):
        super().__init__()
        self.ids, self.links, self.open, self.outside, self.texts = [], [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        values = dict(attributes)
        self.ids += [values["id"]] if "id" in values else []
        self.links += [values["href"]] if tag == "a" else []
        self.outside += [values[name] for name in ("src", "srcset", "data", "action") if name in values]
        self.outside += [values["href"]] if tag not in ("a", "use") and "href" in values else []
        if tag not in ("meta", "br", "input", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list) -> None:
        self.ids += [value for name, value in attributes if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def words(written: str) -> str:
    return " ".join(" ".join(Reader(written).texts).split())


def test_the_page_needs_nothing_else(page: str) -> None:
    found = Reader(page)
    assert found.open == []
    assert found.outside == []
    assert not re.search(r"@import|url\((?!#)", page)
    assert all(link.startswith("#") and link[1:] in found.ids for link in found.links)
    assert len(found.ids) == len(set(found.ids))


def test_every_section_is_there_and_has_its_figures(page: str) -> None:
    for name in ("leaderboard", "comparisons", "folds", "money", "stability", "information", "calibration",
                 "importance", "costs", "parts", "audit", "reading", "settings"):  # fmt: skip
        section = re.search(rf'<section id="{name}">(.*?)</section>', page, re.DOTALL)
        assert section, name
        if name not in ("leaderboard", "comparisons", "parts", "audit", "reading", "settings"):
            assert "<svg" in section[1], name
    said = words(page)
    for expected in ("gbm", "70.0%", "12 trials", "< 0.001", "3 of 4", "one class only", "fold 3", "cafe", "leaves 7",
                     "the last 3 sessions are in no test window yet", "Sharpe: the returns do not vary"):  # fmt: skip
        assert expected in said, expected


def test_undefined_values_have_their_reason(page: str) -> None:
    said = words(page)
    assert "the returns do not vary (base_rate, 2020; base_rate, 2021)" in said
    assert "not tested (tree, 2021)" in said
    assert not re.search(r">[^<>]*\bnan\b[^<>]*<", page)


def test_the_same_frames_give_the_same_bytes(summary: Summary, page: str) -> None:
    assert render(summary) == page
    assert markdown(summary) == markdown(summary)


def test_names_are_escaped() -> None:
    summary = make_summary()
    evil = "<img src=x onerror=alert(1)>|`"
    frames = {name: frame.replace({"gbm": evil}) if "model" in frame else frame
              for name, frame in ((key, getattr(summary, key)) for key in
                                  ("leaderboard", "comparisons", "folds", "fold_scores", "fold_wins", "returns",
                                   "bands", "information", "calibration", "importance", "agreement", "costs",
                                   "symbols", "years", "regimes"))}  # fmt: skip
    changed = replace(summary, notes=[evil], facts=dict(summary.facts) | {"models": evil}, **frames)
    assert "<img" not in render(changed)
    written = markdown(changed)
    assert "<img" not in written.replace("\\<img", "")
    for line in written.splitlines():
        assert not line.startswith("| ") or "\\|" in line or evil not in line
    widths = {}
    for block in re.findall(r"(?:^\|.*\n)+", written, re.MULTILINE):
        widths[block] = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
    assert widths
    assert all(len(width) == 1 for width in widths.values())


def test_an_audit_stands_where_it_came_with(summary: Summary, page: str) -> None:
    assert "No audit came with these results" in page
    audit = pd.DataFrame({"check": ["null"], "verdict": ["fail"], "reason": ["AUC 0.61 of shuffled labels"]})
    audited = replace(summary, audit=audit)
    assert "AUC 0.61 of shuffled labels" in render(audited)
    assert "No audit came" not in render(audited)
    assert "| null | fail | AUC 0.61 of shuffled labels |" in markdown(audited)


def test_many_symbols_stay_light() -> None:
    many = make_summary(symbols=500, folds=105)
    page = render(many)
    assert len(page.encode()) < 1_500_000
    order = many.symbols.query("target == 'y_up' and model == 'gbm'").sort_values("sharpe", ascending=False)["symbol"]
    rows = re.findall(r"<td[^>]*>(S\d{3})</td>", page[page.index("Sharpe by symbol") :].split("</table>")[0])
    assert rows == [*order[:20], *order[-20:]]
    assert "best and worst 20 of 500 for gbm" in page
    assert tables(many)["symbols.csv"]["symbol"].nunique() == 500


def test_nothing_traded_and_nothing_known_are_said(summary: Summary) -> None:
    board = summary.leaderboard.query("target == 'path'").reset_index(drop=True)
    bare = {name: getattr(summary, name).query("target == 'path'") for name in
            ("comparisons", "folds", "fold_scores", "fold_wins", "symbols", "years", "regimes")}  # fmt: skip
    gone = ("overfitting", "returns", "bands", "information", "calibration", "importance", "agreement", "costs")
    empty = {name: getattr(summary, name).iloc[:0] for name in gone}
    page = render(replace(summary, leaderboard=board, **bare, **empty))
    for expected in ("Nothing is traded", "The tested sessions are too few", "No model reports importance",
                     "No predictions could be put in bins"):  # fmt: skip
        assert expected in page


def test_folds_that_are_missing_have_their_colour(page: str, summary: Summary) -> None:
    timeline = re.search(r'<section id="folds">(.*?)</section>', page, re.DOTALL)[1]
    assert "test, missing for all" in timeline
    assert "var(--orange)" in timeline
    one = summary.folds.assign(status=summary.folds["status"].where(summary.folds["model"] == "gbm", "done"))
    some = re.search(r'<section id="folds">(.*?)</section>', render(replace(summary, folds=one)), re.DOTALL)[1]
    assert "test, missing for some" in some
    assert "var(--orange)" not in some


def test_conclusions_weigh_the_best_model(summary: Summary) -> None:
    said = conclusions(summary)
    assert said["y_up"] == (
        "Sharpe ratio against buy_and_hold, the best baseline: +0.50, 95% interval −0.25 to +1.25. The probability "
        "that it is above what luck gives the best of 12 trials is 70%. Loss lower than that of base_rate, the best "
        "baseline: p of equal losses less than 0.001."
    )
    assert said["path"].startswith("Loss lower than that of mean")


def test_losses_are_shown_in_shares_of_the_rivals(summary: Summary) -> None:
    found = walkforward_tables.comparisons(summary.comparisons, walkforward_tables.Order.of(summary.leaderboard))
    labels = [label for label, _ in found[0].heads]
    assert found[0].rows[0][labels.index("loss lower by")] == "2.00%"
    assert labels.count("beats") == 2
    assert [label for label, _ in found[1].heads].count("beats") == 1  # nothing is traded on the other target


def test_the_markdown_holds_the_tables_of_the_page(summary: Summary) -> None:
    written = markdown(summary)
    assert written.startswith("# walk-forward · gbm, tree on y\\_up, path\n")
    assert "| gbm | base\\_rate | 2.00% | 1.00% | 3.00% | yes | \\< 0.001 | 0.50 | −0.25 | 1.25 | no |" in written
    assert "### y\\_up: AUC by symbol" in written
    assert "- data (sha256): cafe" in written


def test_files_lie_beside_the_page(summary: Summary, tmp_path: Path) -> None:
    page = write_report(summary, tmp_path / "run")
    assert page == tmp_path / "run" / "report.html"
    written = {path.name for path in (tmp_path / "run" / "report_tables").iterdir()}
    assert written == set(tables(summary))
    assert {"leaderboard.csv", "comparisons.csv", "symbols.csv", "audit.csv"} <= written
    board = pd.read_csv(tmp_path / "run" / "report_tables" / "leaderboard.csv")
    pd.testing.assert_series_equal(board["dsr"], summary.leaderboard["dsr"])


def test_thinned_lines_end_where_they_did() -> None:
    returns = pd.Series(np.random.default_rng(0).normal(0, 0.01, 2611), pd.bdate_range("2000-01-03", periods=2611))
    line = Line("a", returns, "blue")
    thinned = thin(line)
    assert len(thinned.growth) <= 500
    assert thinned.growth.index[-1] == returns.index[-1]
    for day, growth in thinned.growth.items():
        assert growth == pytest.approx(line.growth[day])
    assert thin(Line("a", returns.iloc[:500], "blue")).returns.equals(returns.iloc[:500])
