"""The sections of a walk-forward's report: what each is called, what to know before its numbers, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from TRAINING.reports import walkforward_tables as tables
from TRAINING.reports.panels import Order
from TRAINING.reports.walkforward_tables import Listing

if TYPE_CHECKING:
    from TRAINING.reports.walkforward import Summary


@dataclass(frozen=True)
class Section:
    """A part of the report: its name in the menu, its heading, what to know before the numbers, and the tables."""

    link: str
    title: str
    lead: str
    tables: Sequence[Listing] = ()
    empty: str = ""


def sections(summary: Summary) -> dict[str, Section]:
    """The sections in order, by the anchors of the page."""
    order = Order.of(summary.leaderboard)
    return {
        "leaderboard": Section(
            "Leaderboard",
            "Leaderboard",
            "Every figure is of sessions that no model had seen when it was fitted, after costs. The line beside a "
            "Sharpe ratio is its block-bootstrap interval: where it crosses zero, the result could be luck. A model "
            "beats a baseline only when the interval of their difference, on the same sessions, excludes zero.",
            tables.leaderboard(summary.leaderboard, order),
        ),
        "comparisons": Section(
            "Significance",
            "Is the difference real?",
            "Each model against its rivals over the sessions that both have: by how much of the rival's its mean loss "
            "(log loss, or squared error) is lower, with the interval, and Diebold and Mariano's test of the same; and "
            "by how much its Sharpe ratio is higher. It beats the rival where the whole interval is above zero.",
            [*tables.comparisons(summary.comparisons, order), *tables.overfitting(summary.overfitting)],
            "There is nothing to compare.",
        ),
        "folds": Section(
            "Folds",
            "Folds",
            "Grey: training, less the labels that reach into the test window; pale blue: its tail, on which training "
            "stops early; blue: test. Amber: a fold that some results or symbols miss; orange: one that all do.",
            tables.missing_folds(summary.folds),
        ),
        "money": Section(
            "Money",
            "Money",
            "An equal-weight portfolio over the symbols, after costs, beside buy and hold and the best other baseline. "
            "The shade holds 95 % of the histories that the best model's returns give when drawn again in blocks.",
            tables.gates(summary.comparisons, order),
            "Nothing is traded: no target has a rule for it.",
        ),
        "stability": Section(
            "Stability",
            "Is it steady? Fold by fold",
            "A model that is better in most folds is more to be believed than one that owes its rank to a few of them.",
            tables.fold_wins(summary.fold_wins, order),
        ),
        "information": Section(
            "Rank IC",
            "Does it know something? Rank IC through time",
            "Rank correlation of predictions and what came, mean over trailing sessions, with 95 % intervals that "
            "allow for overlapping labels. In daily returns a steady 0.03 is much.",
            empty="The tested sessions are too few.",
        ),
        "calibration": Section(
            "Calibration",
            "Do predictions mean what they say?",
            "Tenths of the predictions against what came, of all folds. On the diagonal 30 % means 30 %; a flat line "
            "carries no information. Intervals around values are to hold as many labels as was asked for, in wild "
            "times as in calm ones.",
            (*tables.calibration(summary.leaderboard, order),
             *tables.coverage(summary.leaderboard, summary.years, order)),
            "No predictions could be put in bins.",
        ),
        "importance": Section(
            "Features",
            "What the models look at",
            "Share of each feature: mean over the folds, and its range. Features that come and go from fold to fold "
            "are interchangeable or noise.",
            (*tables.agreement(summary.agreement), *tables.importance(summary.importance, order)),
            "No model reports importance.",
        ),
        "costs": Section(
            "Costs",
            "What if trading costs more?",
            "The same positions at other costs of a change of position by 1.",
            tables.costs(summary.costs, order),
            "Nothing is traded: no target has a rule for it.",
        ),
        "parts": Section(
            "Parts",
            "Where does it come from? Years, regimes, symbols",
            "Each part is scored by itself. Regimes are thirds of the market's volatility over the 60 sessions before, "
            "against all that was known then. Among many symbols some are excellent by chance alone.",
            (*tables.parts(summary.years, "year", summary.leaderboard, order),
             *tables.parts(summary.regimes, "regime", summary.leaderboard, order),
             *tables.parts(summary.symbols, "symbol", summary.leaderboard, order)),
        ),
        "audit": Section(
            "Audit",
            "Audit",
            "What was done to find out whether a result is too good to be true.",
            tables.audit(summary.audit),
            "No audit came with these results; run barzoo audit.",
        ),
    }  # fmt: skip
