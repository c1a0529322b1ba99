"""From the predictions of folds to bars with positions and returns, and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from DATA_PROCESSING.labels import label_end_of, label_of
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.backtest import backtest, cross_sections, signals
from TRAINING.evaluation.metrics import MONEY_METRICS, score_money, score_predictions
from TRAINING.evaluation.portfolio import portfolio
from TRAINING.walkforward.fold import BUY_AND_HOLD, Work
from TRAINING.walkforward.panel import LabeledPanel

_MONEY = ("position", "position_change", "asset_return", "net_return")


@dataclass(frozen=True, eq=False)
class Trading:
    """How one target is traded.

    Attributes
    ----------
    panel : LabeledPanel
    work : Work
    target : str
    horizon : int
        Bars that a signal is held.
    settings : dict
        The run config ``backtest``.
    """

    panel: LabeledPanel
    work: Work
    target: str
    horizon: int
    settings: dict

    @cached_property
    def rule(self) -> str | None:
        """The money rule of the target; None where a prediction names no position."""
        label = label_of(self.target)
        return label and label.money_rule

    @cached_property
    def per_year(self) -> float:
        """Sessions in a year."""
        return sessions_per_year(self.panel.sessions)

    def rows(self, made: pd.DataFrame, name: str) -> pd.DataFrame:
        """The bars on which a name predicts, and those on which its last positions end, by symbol and time.

        ``made`` has a row per prediction: ``row`` (position in the panel's table), ``fold``, ``prediction`` and
        ``threshold``.
        """
        session, at = self.work.session, made["row"].to_numpy()
        first, last = session[at.min()], session[at.max()]
        begin, stop = np.searchsorted(session, [first, last + 1])
        size, place = stop - begin, at - begin
        prediction, signal, fold = np.full(size, np.nan), np.zeros(size), np.full(size, -1)
        prediction[place], fold[place] = made["prediction"], made["fold"]
        signal[place] = self._signal(made, name)
        part = self.panel.table.iloc[begin:stop]
        close, money = part["close"].to_numpy(float), {column: np.full(size, np.nan) for column in _MONEY}
        if self._trades(name):
            held = 1 if name == BUY_AND_HOLD else self.horizon
            lag, cost = self.settings["execution_lag"], self.settings["cost_bps"]
            for rows in part.groupby("symbol", observed=True).indices.values():
                result = backtest(close[rows], signal[rows], held, lag, cost)
                for column in _MONEY:
                    money[column][rows] = getattr(result, column)
        columns = {
            "name": name,
            "symbol": part["symbol"].to_numpy(object),
            "timestamp": part["timestamp"].array,
            "session": self.panel.sessions[session[begin:stop]].astype("datetime64[ns]"),
            "fold": fold,
            "y": self.work.data.y.to_numpy(float)[begin:stop],
            "label_end": part[label_end_of(self.target, part.columns)].array,
            "prediction": prediction,
            "signal": signal if self._trades(name) else np.nan,
            "close": close,
            **money,
        }
        active = (fold >= 0) | (money["position"] != 0) & ~np.isnan(money["position"]) | (money["position_change"] > 0)
        frame = pd.DataFrame(columns)[active]
        return frame.sort_values(["symbol", "timestamp"], kind="stable", ignore_index=True)

    def scores(self, rows: pd.DataFrame, name: str) -> tuple[dict[str, float], dict[str, str]]:
        """Every metric of a name's bars, NaN where undefined, and the reasons."""
        values, reasons = {}, {}
        if name != BUY_AND_HOLD:
            known = rows[rows["fold"] >= 0]
            scored = score_predictions(self.work.task, known["y"], known["prediction"])
            values, reasons = dict(scored.values), dict(scored.reasons)
        if not self._trades(name):
            return values, reasons | {row.name: "the target has no money rule" for row in MONEY_METRICS}
        net = portfolio(rows, ("name",))["net_return"]
        scored = score_money(net, rows["position"], rows["asset_return"], self.per_year, rows["position_change"])
        return values | scored.values, reasons | scored.reasons

    def _trades(self, name: str) -> bool:
        return self.rule is not None or name == BUY_AND_HOLD

    def _signal(self, made: pd.DataFrame, name: str) -> np.ndarray | float:
        if name == BUY_AND_HOLD:
            return 1.0
        if self.rule is None:
            return 0.0
        values = made["prediction"].to_numpy(float)
        rows, settings = made["row"].to_numpy(), self.settings
        sections = None
        if settings["rule"] == "rank":
            part = self.panel.table.iloc[rows]
            sections = cross_sections(part["symbol"], self.work.session[rows], part["timestamp"])
        return signals(
            settings["rule"],
            values,
            self.rule,
            threshold=made["threshold"],  # each fold has its own: the base rate of its training rows
            sections=sections,
            **{name: settings[name] for name in ("upper", "lower", "rank_share")},
        )
