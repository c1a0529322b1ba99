"""The report of walk-forwards: one HTML file that needs nothing else, the same as Markdown, and its tables as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import pandas as pd

from CONFIG.errors import ConfigError
from DATA_PROCESSING.atomic import write_atomically
from TRAINING.reports import verdict
from TRAINING.reports.columns import number, percent, typeset
from TRAINING.reports.page import render_page
from TRAINING.reports.verdict import Card
from TRAINING.reports.walkforward_panels import panels
from TRAINING.reports.walkforward_sections import sections
from TRAINING.reports.walkforward_tables import Listing, board_groups

OPEN_PANELS = 6  # of a section; further ones are folded away


@dataclass(frozen=True, eq=False)
class Summary:
    """What the report shows; `TRAINING.walkforward.summary.summarise` makes it of results.

    Every frame has ``target`` and ``model``, but for ``overfitting`` and ``audit``; any may be empty, though not
    without columns. NaN is an undefined number.

    Attributes
    ----------
    facts : dict of str to str
        What was asked, the most important first.
    settings : dict of str to str
        Fingerprints and configurations.
    notes : sequence of str
    leaderboard : DataFrame
        See `TRAINING.walkforward.leaderboard.leaderboard`, as for the next two.
    comparisons : DataFrame
        Each model against each rival.
    overfitting : DataFrame
        ``target, strategies, effective, sessions, probability, loss_probability, reason``.
    folds : DataFrame
        ``fold, symbol``, the windows, sizes, ``status, reason, notes`` and the model's metrics.
    fold_scores : DataFrame
        Metrics of every name by ``fold``, with its ``start``.
    fold_wins : DataFrame
        ``rival, metric, folds, better, share``.
    returns : DataFrame
        ``session, net_return, gross_return, turnover, exposure``.
    bands : DataFrame
        ``session, low, high``: growth of 1, of the best model of each target.
    information : DataFrame
        ``session, sessions`` (of the trailing window)``, rank_ic, low, high``.
    calibration : DataFrame
        ``task, predicted, observed, low, high, rows``.
    importance, agreement : DataFrame
        ``feature, mean, low, high, top`` (share of folds in which it is among the first ten)``, folds``; ``fold,
        rank_correlation`` with the fold before.
    costs : DataFrame
        ``cost_bps, sharpe, annual_return, max_drawdown, reason``.
    symbols, years, regimes : DataFrame
        Metrics of every name by ``symbol``, ``year``, ``regime``.
    audit : DataFrame
        ``check, verdict, reason``.
    """

    facts: Mapping[str, str]
    settings: Mapping[str, str]
    notes: Sequence[str]
    leaderboard: pd.DataFrame
    comparisons: pd.DataFrame
    overfitting: pd.DataFrame
    folds: pd.DataFrame
    fold_scores: pd.DataFrame
    fold_wins: pd.DataFrame
    returns: pd.DataFrame
    bands: pd.DataFrame
    information: pd.DataFrame
    calibration: pd.DataFrame
    importance: pd.DataFrame
    agreement: pd.DataFrame
    costs: pd.DataFrame
    symbols: pd.DataFrame
    years: pd.DataFrame
    regimes: pd.DataFrame
    audit: pd.DataFrame

    @property
    def title(self) -> str:
        """What the report is called."""
        return f"walk-forward · {self.facts['models']} on {self.facts['targets']}"


def write_report(summary: Summary, path: str | Path) -> Path:
    """Write ``NAME.html``, beside it ``NAME.md``, and the tables in the folder ``NAME_tables``.

    Parameters
    ----------
    path : str or Path
        The HTML file, or a folder for ``report.html``. An older report there is replaced.

    Returns
    -------
    Path of the HTML file.

    Raises
    ------
    ConfigError
        It cannot be written there.
    """
    path = Path(path)
    page = path if path.suffix == ".html" else path / "report.html"
    try:
        write_atomically(page, render(summary))
        write_atomically(page.with_suffix(".md"), markdown(summary))
        for name, frame in tables(summary).items():
            write_atomically(page.with_name(f"{page.stem}_tables") / name, _csv(frame))
    except OSError as error:
        raise ConfigError(f"{page}: the report cannot be written there ({error.strerror}); choose another") from error
    return page


def tables(summary: Summary) -> dict[str, pd.DataFrame]:
    """The report's frames, whole, by the names of their CSV files."""
    frames = {field.name: getattr(summary, field.name) for field in fields(summary)}
    return {f"{name}.csv": frame for name, frame in frames.items() if isinstance(frame, pd.DataFrame)}


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")


def render(summary: Summary) -> str:
    """The report as one HTML page; the same input gives the same bytes."""
    board = summary.leaderboard
    return render_page(
        "walkforward.html.j2",
        title=summary.title,
        meta=dict(summary.facts),
        notes=list(summary.notes),
        headline=verdict.headline(board),
        against=verdict.against,
        cards=_cards(board),
        conclusions=conclusions(summary),
        groups=board_groups(board),
        sections=sections(summary),
        panels=panels(summary),
        open_panels=OPEN_PANELS,
        settings=dict(summary.settings),
    )


def _cards(board: pd.DataFrame) -> list[Card]:
    """The cards of the best models, with the probability that their Sharpe ratio is more than luck."""
    best = board[board["kind"] == "model"].drop_duplicates("target").set_index("target")
    cards = []
    for card in verdict.cards(board):
        row = best.loc[card.target]
        counted = f"of {number(row['trials'], 0)} trial{'s' if row['trials'] > 1 else ''}"
        extra = (("deflated Sharpe", percent(row["dsr"], 0), counted),)
        cards.append(replace(card, figures=card.figures + extra if pd.notna(row["dsr"]) else card.figures))
    return cards


def conclusions(summary: Summary) -> dict[str, str]:
    """Per target what is to be thought of its best model: intervals, and what the number of trials leaves of them."""
    board, said = summary.leaderboard, {}
    for target, rows in board.groupby("target", sort=False):
        models = rows[rows["kind"] == "model"]
        if len(models):
            best = models.iloc[0]
            pairs = summary.comparisons
            pairs = pairs[(pairs["target"] == target) & (pairs["model"] == best["model"])].set_index("rival")
            said[str(target)] = " ".join([*_on_money(best, rows, pairs), *_on_loss(best, pairs)])
    return said


def _on_money(best: pd.Series, rows: pd.DataFrame, pairs: pd.DataFrame) -> list[str]:
    if pd.isna(best["sharpe"]):
        return []
    said = []
    baselines = rows[(rows["kind"] == "baseline") & rows["sharpe"].notna()]
    if len(baselines):
        rival = baselines.loc[baselines["sharpe"].idxmax(), "model"]
        gain, low, high = pairs.loc[rival, ["sharpe_gain", "sharpe_low", "sharpe_high"]]
        interval = f", 95% interval {_signed(low)} to {_signed(high)}" if pd.notna(low) else ""
        said.append(f"Sharpe ratio against {rival}, the best baseline: {_signed(gain)}{interval}.")
    if pd.notna(best["dsr"]):
        luck = f"the best of {best['trials']:.0f} trials" if best["trials"] > 1 else "a single trial"
        said.append(f"The probability that it is above what luck gives {luck} is {percent(best['dsr'], 0)}.")
    return said


def _on_loss(best: pd.Series, pairs: pd.DataFrame) -> list[str]:
    if pd.isna(best["dm_p"]):
        return []
    side = "lower" if pairs.loc[best["rival"], "loss_gain"] > 0 else "higher"
    chance = "less than 0.001" if best["dm_p"] < 0.001 else number(best["dm_p"], 3)
    return [f"Loss {side} than that of {best['rival']}, the best baseline: p of equal losses {chance}."]


def _signed(value: float) -> str:
    return typeset(number(value)) if not value > 0 else f"+{number(value)}"


def markdown(summary: Summary) -> str:
    """The report's words and tables as Markdown."""
    lines = [f"# {_plain(summary.title)}", "", f"**{_plain(verdict.headline(summary.leaderboard))}**", ""]
    lines += [f"- {_plain(target)}: {_plain(said)}" for target, said in conclusions(summary).items()]
    lines += [f"- {_plain(note)}" for note in summary.notes] + [""]
    lines += [f"- {_plain(name)}: {_plain(value)}" for name, value in summary.facts.items()] + [""]
    for section in sections(summary).values():
        if not section.tables:
            continue
        lines += [f"## {section.title}", "", _plain(section.lead), ""]
        for table in section.tables:
            lines += _markdown_table(table)
    lines += ["## Settings", ""] + [f"- {_plain(name)}: {_plain(value)}" for name, value in summary.settings.items()]
    return "\n".join(lines) + "\n"


def _markdown_table(table: Listing) -> list[str]:
    heads = [_plain(label) for label, _ in table.heads]
    rule = ["---:" if numeric else "---" for _, numeric in table.heads]
    rows = [heads, rule, *([_plain(value) for value in row] for row in table.rows)]
    title = [f"### {_plain(table.title)}", ""] if table.title else []
    reasons = [_plain(f"Undefined: {'; '.join(table.reasons)}."), ""] if table.reasons else []
    return [*title, *(f"| {' | '.join(row)} |" for row in rows), "", *reasons]


def _plain(written: str) -> str:
    """Text that Markdown takes as it stands."""
    escaped = "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|" else letter for letter in written)
    return " ".join(escaped.split())
