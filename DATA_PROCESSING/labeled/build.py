"""From a panel of bars to labeled tables."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, did_you_mean
from DATA_PROCESSING.atomic import remove_abandoned, sync_folder
from DATA_PROCESSING.features.audit import audit
from DATA_PROCESSING.features.build import FeatureSet
from DATA_PROCESSING.features.context import PanelContext
from DATA_PROCESSING.features.table import feature_table
from DATA_PROCESSING.headers import listed
from DATA_PROCESSING.labeled.make import Rows, TableMaker, Written
from DATA_PROCESSING.labeled.parallel import in_parallel
from DATA_PROCESSING.labeled.read import table_path
from DATA_PROCESSING.labels import panel_forward_returns
from DATA_PROCESSING.panel import Panel
from DATA_PROCESSING.resample import interval_text

log = logging.getLogger("barzoo")
_TABLE_SECONDS, _VALUES_PER_SECOND = 0.015, 3e7  # about what a table takes
_MANY_UNLABELED = 0.2  # of the rows whose path could be whole
_MANY_BOTH_TOUCHED = 0.01  # above it, the order of touches within a bar matters too much to be guessed


def needs_others(features: dict, labels: dict) -> bool:
    """Whether the tables of some symbols need the bars of the panel's others too; the run configs of these names."""
    return features["set"] == "comprehensive" or labels["excess"]


class TableBuilder:
    """The labeled tables of a panel.

    Parameters
    ----------
    panel : Panel
    features, labels : dict
        The run configs of these names.

    Attributes
    ----------
    maker : TableMaker
        Makes them from `rows`.
    """

    def __init__(self, panel: Panel, features: dict, labels: dict):
        _check_spans(labels, panel.bar_length)
        self.panel = panel
        self.features = FeatureSet.of(features, panel.bar_length, panel.stamp)
        if self.features.own:
            samples = panel.everyone | {symbol: next(panel.chunks(symbol))[0] for symbol in panel.long}
            audit(self.features.own, samples, feature_table(features["set"]))
        settings = {"bars": panel.settings, "features": features, "labels": labels}
        if self.features.own:
            settings["own_features"] = self.features.own.sha256
        self.maker = TableMaker(self.features, settings)
        self._context = PanelContext(panel.everyone, self.features)
        self._returns = _panel_returns(panel, labels) if labels["excess"] else {}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of every table, in order."""
        return self.maker.columns

    def fingerprint(self, symbol: str) -> str:
        """Identity of a symbol's table, known before it is made."""
        return self.maker.fingerprint(self.rows(symbol))

    def table(self, symbol: str) -> pd.DataFrame:
        """A symbol's table: a row per bar, the last rows without labels included."""
        return self.maker.table(self.rows(symbol))

    def newest(self, symbol: str) -> tuple[pd.DataFrame, pd.Series]:
        """Features and timestamps of a symbol's bars, the last of them where it is long."""
        return self.maker.newest(self.rows(symbol))

    def rows(self, symbol: str) -> Rows:
        """What a symbol's table is made from; those of a long symbol are read anew each time."""
        rows = _ReadAnew(self, symbol)
        return rows if symbol in self.panel.long else list(rows)

    def knows_others(self, after: pd.Timestamp) -> bool:
        """Whether bars up to a time are enough for the place of every symbol with later ones among the others."""
        if self.features.market is None:
            return True
        reach = max(self.features.ranked_reach, 1)
        times = (bars["timestamp"] for bars in self.panel.everyone.values())
        return all((own <= after).sum() > reach for own in times if own.iloc[-1] > after)

    def chunks(self, symbol: str) -> Iterator[pd.DataFrame]:
        """As `rows`, gone through once."""
        for bars, numbers in self.panel.chunks(symbol):
            rows = self._context.rows(symbol, bars).assign(number=numbers)
            if symbol in self._returns:
                rows = pd.concat([rows, self._returns[symbol]], axis=1)
            yield rows


@dataclass(frozen=True)
class _ReadAnew:
    builder: TableBuilder
    symbol: str

    def __iter__(self) -> Iterator[pd.DataFrame]:
        return self.builder.chunks(self.symbol)


def label_panel(
    builder: TableBuilder,
    folder: Path,
    *,
    symbols: list[str] | None = None,
    jobs: int = 1,
    on_step: Callable[[str], None] = lambda symbol: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[str]:
    """Write the labeled tables of a panel; a table that is up to date already is left alone.

    Parameters
    ----------
    builder : TableBuilder
    folder : Path
        Made if it is not there.
    symbols : list of str, optional
        Only these.
    jobs : int
        Symbols at once.
    on_step : callable
        Told each symbol that is ready.
    stopped : callable
        Once it says so, no further table is taken up.

    Returns
    -------
    list of str
        The symbols whose table was made.
    """
    folder, panel = Path(folder).absolute(), builder.panel  # a process may have started in another folder
    folder.mkdir(parents=True, exist_ok=True)
    remove_abandoned(folder)
    wanted = panel.symbols if symbols is None else symbols
    for symbol in set(wanted) - set(panel.symbols):
        raise ConfigError(f"{panel.name}: no usable bars of {symbol!r}{did_you_mean(symbol, panel.symbols)}")
    held = [symbol for symbol in wanted if symbol in panel.bars]
    values = sum(len(panel.bars[symbol]) for symbol in held) * len(builder.columns)
    seconds = len(held) * _TABLE_SECONDS + values / _VALUES_PER_SECOND
    done: dict[str, Written] = {}
    for group, needed in (([symbol for symbol in wanted if symbol in panel.long], 0.0), (held, seconds)):
        calls = (
            (symbol, (table_path(folder, symbol), symbol, builder.rows(symbol))) for symbol in group if not stopped()
        )
        with closing(in_parallel(builder.maker.write, calls, len(group), jobs, needed)) as results:
            for symbol, written in results:
                done[symbol] = written
                on_step(symbol)
    sync_folder(folder)
    _tell(done, builder.maker.labels["horizon"])
    return sorted(symbol for symbol, written in done.items() if written.made)


def _tell(done: dict[str, Written], horizon: int | str) -> None:
    """Log what users should know of the labels."""
    unlabeled = {symbol for symbol, written in done.items() if not written.labeled_rows}
    if unlabeled:
        told = listed(sorted(unlabeled))
        log.warning("no label in the tables of %s: fewer bars than the horizon %s needs", told, horizon)
    ahead = horizon if isinstance(horizon, int) else 0
    missing = {symbol: 1 - written.labeled_rows / max(written.rows - ahead, 1) for symbol, written in done.items()}
    gaps = sorted(symbol for symbol in missing.keys() - unlabeled if missing[symbol] > _MANY_UNLABELED)
    if gaps:
        log.warning(
            "no label in many rows of %s (%.0f %% of %s): bars on their paths are missing, or longer than the horizon "
            "%s; barzoo data check tells where",
            listed(gaps), 100 * missing[gaps[0]], gaps[0], horizon,
        )  # fmt: skip
    shares = [w.both_touched_share for w in done.values() if np.isfinite(w.both_touched_share)]
    if shares:
        share = float(np.mean(shares))
        log.log(
            logging.WARNING if share > _MANY_BOTH_TOUCHED else logging.INFO,
            "in %.2f %% of first touches one bar touches both barriers; it counts as the lower (mean over symbols)",
            100 * share,
        )


def _check_spans(labels: dict, bar_length: np.timedelta64) -> None:
    """Refuse a span of the clock that is shorter than the usual bar, before anything is made."""
    for span in (labels["horizon"], *labels["horizons"]):
        if isinstance(span, str) and span[-1] in "mh" and np.timedelta64(int(span[:-1]), span[-1]) < bar_length:
            raise ConfigError(
                f"labels.yaml: horizon: {span} is shorter than a bar ({interval_text(bar_length)}); give a longer one, "
                "or a number of bars"
            )


def _panel_returns(panel: Panel, labels: dict) -> dict[str, pd.DataFrame]:
    numbers = {symbol: panel.session_numbers(symbol) for symbol in panel.everyone}
    return panel_forward_returns(panel.everyone, labels, numbers)
