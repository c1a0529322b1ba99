"""What the panel leaves out: symbols that died, symbols that came later, splits that nobody adjusted for."""

from __future__ import annotations

from math import exp

import numpy as np
import pandas as pd

from DATA_PROCESSING.adjust import find_splits, ratio_text, session_bars
from DATA_PROCESSING.columns import BAR_COLUMNS
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.research.checks import Check
from TRAINING.research.subject import Subject

NAME, SPLITS = "survivorship", "splits"
ALIVE = 20  # sessions before the panel's end within which a symbol's last bar counts as alive; likewise at its start
IMPROBABLE = 0.05
SHOWN = 5


def check_survivorship(subject: Subject, deaths_per_year: float) -> Check:
    """Warn where no symbol ends, or none begins, in a panel in which that has to be expected.

    Companies go, about one in twenty-five a year and more of small ones; a panel without any that did was chosen with
    hindsight, and every strategy looks better on it. ``deaths_per_year`` is the share that is expected.
    """
    sessions, spans = subject.sessions, subject.spans
    places = np.searchsorted(sessions, np.array(list(spans.values()), "datetime64[D]"))
    years = float((places[:, 1] - places[:, 0] + 1).sum() / sessions_per_year(sessions)) if len(sessions) > 1 else 0.0
    ended = int((places[:, 1] < len(sessions) - ALIVE).sum())
    begun = int((places[:, 0] >= ALIVE).sum())
    expected = deaths_per_year * years
    probability = exp(-expected)
    numbers = {"symbols": len(spans), "symbol_years": years, "ended": ended, "begun_later": begun}
    numbers |= {"expected_ends": expected, "probability_of_none": probability}
    if not ended and probability < IMPROBABLE:
        together = " and all start together" if not begun else ""
        told = f"all {len(spans)} symbols are alive at the end{together}; of {expected:.0f} expected ends there is none"
        return Check(NAME, "warned", f"{told}: chosen with hindsight, results will flatter", numbers)
    few = f"{len(spans)} symbol{'s' * (len(spans) != 1)} over {years:.0f} symbol-years"
    told = f"{few}, {ended} ended before the panel did and {begun} began later"
    if not ended:
        told += f"; too few to expect an end (probability of none {probability:.2f})"
    return Check(NAME, "passed", told, numbers)


def check_splits(subject: Subject) -> Check:
    """Warn of moves that look like splits and were not adjusted for; see `DATA_PROCESSING.adjust.find_splits`."""
    panel, table = subject.builder and subject.builder.panel, subject.table
    if panel is not None:
        found = panel.splits[~panel.splits["adjusted"]]
    elif set(BAR_COLUMNS) <= set(table.columns):
        sessions = subject.sessions[subject.session]
        days = session_bars(table.astype(dict.fromkeys(BAR_COLUMNS, float)), subject.codes, sessions)
        found = find_splits(days.assign(symbol=pd.unique(table["symbol"].astype(str))[days["symbol"]]))
    else:
        return Check(SPLITS, "not applicable", f"the table does not hold all of {', '.join(BAR_COLUMNS)}")
    events = [
        {"symbol": row.symbol, "session": f"{row.session:%Y-%m-%d}", "ratio": row.ratio}
        for row in found[found["doubt"] == ""].itertuples()
    ]
    numbers = {"events": events}
    if not events:
        return Check(
            SPLITS, "passed", f"no move of {len(subject.spans)} symbols looks like a split left unadjusted", numbers
        )
    named = [f"{event['symbol']} {ratio_text(event['ratio'])} on {event['session']}" for event in events]
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    told = f"moves that look like splits are left in the prices: {', '.join(named[:SHOWN])}{more}"
    return Check(SPLITS, "warned", told, numbers)
