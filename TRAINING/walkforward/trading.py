"""From the predictions of folds to bars with positions and returns, and their scores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from DATA_PROCESSING.labels import label_end_of, label_of
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.backtest import backtest, cross_sections, signals
from TRAINING.evaluation.baselines import BUY_AND_HOLD
from TRAINING.evaluation.metrics import MONEY_METRICS, score_money, score_predictions
from TRAINING.evaluation.portfolio import session_means
from TRAINING.model_fun.registry import predicts_position, signal_rule
from TRAINING.walkforward.fold import Work
from TRAINING.walkforward.panel import LabeledPanel

MONEY = ("position", "position_change", "asset_return", "net_return")


@dataclass(frozen=True, eq=False)
class Bars:
    """Consecutive rows of the panel's table, as a name predicts and trades them.

    Attributes
    ----------
    name : str
    begin : int
        Position of the first.
    predicted, active : (n,) bool
        Where it predicts; where it predicts or still has a position.
    prediction, signal : (n,) float
    money : dict of str to (n,) float
        ``position, position_change, asset_return, net_return``; NaN where the target has no money rule.
    """

    name: str
    begin: int
    predicted: np.ndarray
    prediction: np.ndarray
    signal: np.ndarray
    money: dict[str, np.ndarray]
    active: np.ndarray


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

    def bars(self, name: str, rows: np.ndarray, prediction: np.ndarray, threshold: np.ndarray | float) -> Bars:
        """The bars from the first prediction of a name to the last, with the positions that it takes.

        Parameters
        ----------
        name : str
        rows : (m,) int
            Positions of what is predicted in the panel's table, increasing.
        prediction : (m,) float
        threshold : (m,) float, or float
            The base rate of the training rows.
        """
        session = self.work.session
        begin, stop = np.searchsorted(session, [session[rows[0]], session[rows[-1]] + 1])
        size, place = stop - begin, rows - begin
        values, signal = np.full(size, np.nan), np.zeros(size)
        values[place], signal[place] = prediction, self._signal(name, rows, prediction, threshold)
        money = np.full((len(MONEY), size), np.nan)
        if self._trades(name):
            held = 1 if name == BUY_AND_HOLD else self.horizon
            lag, cost, close = self.settings["execution_lag"], self.settings["cost_bps"], self._close[begin:stop]
            for own in _places(self.work.symbol[begin:stop]):
                result = backtest(close[own], signal[own], held, lag, cost)
                for column, values_of in zip(money, MONEY, strict=True):
                    column[own] = getattr(result, values_of)
        predicted = np.zeros(size, bool)
        predicted[place] = True
        with np.errstate(invalid="ignore"):
            active = predicted | (np.abs(money[0]) > 0) | (money[1] > 0)
        return Bars(name, begin, predicted, values, signal, dict(zip(MONEY, money, strict=True)), active)

    def frame(self, bars: Bars, fold: np.ndarray) -> pd.DataFrame:
        """Active bars as rows of ``predictions``, by symbol and time; ``fold`` is that of each predicted one."""
        part = self.panel.table.iloc[bars.begin : bars.begin + len(bars.active)]
        number = np.full(len(bars.active), -1)
        number[bars.predicted] = fold
        columns = {
            "model": bars.name,
            "symbol": part["symbol"].to_numpy(object),
            "timestamp": part["timestamp"].array,
            "session": self.panel.sessions[self.work.session[part.index]].astype("datetime64[ns]"),
            "fold": number,
            "y": self._y[part.index],
            "label_end": part[label_end_of(self.target, part.columns)].array,
            "prediction": bars.prediction,
            "signal": bars.signal if self._trades(bars.name) else np.nan,
            "close": self._close[part.index],
            **bars.money,
        }
        frame = pd.DataFrame(columns)[bars.active]
        return frame.sort_values(["symbol", "timestamp"], kind="stable", ignore_index=True)

    def scores(self, bars: Bars, per_year: float | None = None) -> tuple[dict[str, float], dict[str, str]]:
        """Every metric of a name's bars, NaN where undefined, and the reasons.

        Money is annualised by ``per_year`` sessions, of the panel by default: few sessions tell a year badly.
        """
        values, reasons = {}, {}
        here = bars.begin + np.flatnonzero(bars.predicted)
        if bars.name != BUY_AND_HOLD:
            scored = score_predictions(
                self.work.task, self._y[here], bars.prediction[bars.predicted], is_position=predicts_position(bars.name)
            )
            values, reasons = dict(scored.values), dict(scored.reasons)
        if not self._trades(bars.name):
            return values, reasons | {row.name: "the target has no money rule" for row in MONEY_METRICS}
        active = bars.begin + np.flatnonzero(bars.active)
        money = {name: of[bars.active] for name, of in bars.money.items()}
        net = session_means(self.work.session[active], self.work.symbol[active], money["net_return"])
        per_year = per_year or self.per_year
        scored = score_money(net, money["position"], money["asset_return"], per_year, money["position_change"])
        return values | scored.values, reasons | scored.reasons

    @cached_property
    def _close(self) -> np.ndarray:
        return self.panel.table["close"].to_numpy(float)

    @cached_property
    def _y(self) -> np.ndarray:
        return self.work.data.y.to_numpy(float)

    def _trades(self, name: str) -> bool:
        return self.rule is not None or name == BUY_AND_HOLD

    def _signal(
        self, name: str, rows: np.ndarray, prediction: np.ndarray, threshold: np.ndarray | float
    ) -> np.ndarray | float:
        if name == BUY_AND_HOLD:
            return 1.0
        if self.rule is None:
            return 0.0
        settings, sections = self.settings, None
        if settings["rule"] == "rank":
            part = self.panel.table.iloc[rows]
            sections = cross_sections(part["symbol"], self.work.session[rows], part["timestamp"])
        limits = {key: settings[key] for key in ("upper", "lower", "rank_share")}
        rule = signal_rule(name, settings["rule"])
        return signals(rule, prediction, self.rule, threshold=threshold, sections=sections, **limits)


def _places(symbol: np.ndarray) -> list[np.ndarray]:
    """Positions of each symbol's rows, in time order."""
    order = np.argsort(symbol, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(symbol[order])) + 1)
