"""The report: one HTML file that needs nothing else, neither network nor scripts, to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from TRAINING.reports import answers as own
from TRAINING.reports import panels, tables, verdict
from TRAINING.reports.leaderboard import complete
from TRAINING.reports.page import render_page

OPEN_PANELS = 6  # of one kind; further ones are folded away


def render_report(
    *,
    title: str,
    meta: Mapping[str, str],
    notes: Sequence[str],
    leaderboard: pd.DataFrame,
    units: pd.DataFrame,
    returns: pd.DataFrame,
    symbol_returns: pd.DataFrame,
    importance: pd.DataFrame,
    curves: pd.DataFrame,
    calibration: pd.DataFrame,
    quality: pd.DataFrame,
    answers: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> str:
    """Render a run as one HTML page.

    Any frame may be empty, without columns even; its section then says so. Missing values are dashes. All texts are
    escaped. The same input gives the same bytes.

    Parameters
    ----------
    title : what the page is called.
    meta : the settings, in the order shown; the first six stand in the header, so put the essential ones first.
    notes : plain remarks, shown in the header.
    leaderboard : ranked rows (see ``leaderboard.rank``), models and baselines.
    units : one row per (``model``, ``target``, ``symbol``): ``status`` (``done``, ``failed``, ``skipped``), ``reason``,
        ``notes``, rows, rounds and metrics.
    returns : ``model``, ``target``, ``session``, ``net_return``, ``gross_return`` of each portfolio, as fractions.
    symbol_returns : ``model``, ``target``, ``symbol``, ``session``, ``net_return``, ``position``, ``close`` of the
        symbols to be shown one by one.
    importance : ``model``, ``target``, ``feature``, ``importance`` (sums to 1 per model and target).
    curves : ``model``, ``target``, ``part``, ``metric``, ``round``, ``value``, ``low``, ``high``.
    calibration : ``model``, ``target``, ``task``, ``predicted``, ``observed``, ``rows``, one row per bin.
    quality : one row per ``symbol``: ``rows``, ``first``, ``last``, ``bad_rows``, ``reasons``, ``duplicates``, ...
    answers : what only some kinds of model tell, by name, see ``answers.topics``.

    Returns
    -------
    The page's text; writing it is the caller's.
    """
    leaderboard = complete(leaderboard)
    order = panels.Order.of(leaderboard)
    symbol_tables, tables_left_out = tables.symbol_tables(units, order)
    quality_table, flagged_left_out = tables.quality_table(quality)
    return render_page(
        "report.html.j2",
        title=title,
        meta={str(name): str(value) for name, value in meta.items()},
        open_panels=OPEN_PANELS,
        notes=[str(note) for note in notes],
        against=verdict.against,
        headline=verdict.headline(leaderboard),
        cards=verdict.cards(leaderboard),
        compared=sum(leaderboard["kind"] == "model"),
        groups=tables.leaderboard_groups(leaderboard, order),
        equity=panels.equity(returns, leaderboard, order),
        importance=panels.importance(importance, order),
        curves=panels.learning_curves(curves, units, order),
        calibration=panels.calibration(calibration, order),
        shap=own.shap(answers, order),
        topics=own.topics(answers, order),
        distributions=panels.distributions(tables.done(units), leaderboard, order),
        details=panels.symbol_details(symbol_returns, units, order),
        symbol_tables=symbol_tables,
        tables_left_out=tables_left_out,
        failures=tables.failures(units),
        trained=len(tables.done(units)),
        coverage=panels.coverage(quality),
        quality_tiles=tables.quality_tiles(quality),
        quality_table=quality_table,
        flagged_left_out=flagged_left_out,
    )
