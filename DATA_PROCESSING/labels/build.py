"""Build the label columns of one symbol, and the panel's mean returns that excess returns need."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, did_you_mean
from DATA_PROCESSING.features.feature import lagged
from DATA_PROCESSING.features.windows import rolling_std
from DATA_PROCESSING.labels.kernels import path_columns
from DATA_PROCESSING.labels.paths import measure_paths, settled_paths
from DATA_PROCESSING.labels.table import LABELS, column_name
from DATA_PROCESSING.sessions import row_sessions

TOUCHES = ("high_low", "close")
_SPAN = re.compile(r"[1-9]\d*[mhd]", re.ASCII)


def build_labels(
    bars: pd.DataFrame,
    *,
    horizon: int | str,
    barrier: float,
    vol_window: int,
    horizons: list[int | str] | tuple[int | str, ...] = (),
    lower_barrier: float = 0.0,
    touch: str = "high_low",
    excess: bool = False,
    sessions: np.ndarray | None = None,
    rows: slice = slice(None),
) -> pd.DataFrame:
    """Compute every label of one symbol's bars.

    The path of bar t is made of the bars behind it, as far as the horizon reaches; see `measure_paths`. The barriers of
    bar t lie at ``close * exp(barrier * sigma * sqrt(H))`` and ``close * exp(-lower_barrier * sigma * sqrt(H))``, where
    sigma is the standard deviation (ddof 1) of the ``vol_window`` 1-bar log returns that end at t, and H the number of
    bars that the path was expected to have at t; after Lopez de Prado, Advances in Financial Machine Learning (2018),
    chapter 3.

    Parameters
    ----------
    bars : DataFrame of n rows
        Valid, adjusted bars in strictly increasing time, as for `build_features`. Excess returns also need the columns
        of `panel_forward_returns`.
    horizon : int or str
        How far a label looks: H bars, a span of the clock (``30m``, ``4h``), or of sessions (``5d``).
    barrier, lower_barrier : float
        Distances of the barriers, in standard deviations over the horizon (k); for the lower one 0 means the same.
    vol_window : int
        Number of returns behind sigma.
    horizons : list of int or str
        Further horizons.
    touch : {"high_low", "close"}
        Whether a bar's high and low touch a barrier, or only its close. Excursions always use high and low.
    excess : bool
        Whether to add ``fwd_excess_<horizon>``.
    sessions : int array of n rows, optional
        Position of each bar's session among those on which the symbol is expected to trade. Where a path of H bars
        spans more than 2 H of them, because bars are missing, all labels are missing. Without it that is not looked
        at, and ``5d`` counts the sessions that the bars have.
    rows : slice
        The rows whose labels are wanted; the others are only their past and their paths.

    Returns
    -------
    DataFrame
        For ``horizon`` the columns of `LABELS`, with ``fwd_ret_<horizon>`` for the returns, then ``label_end``: the
        timestamp of the path's last bar, when the labels of t are known. For each further horizon the same, with
        ``_h<horizon>`` behind the names that do not carry it yet. NaN (NaT in ``label_end``) where missing: all labels
        of rows without a path, the barrier labels (``y_*``, ``TTH``) where sigma is undefined or 0, and ``TTH`` where
        no barrier is touched. Barrier labels are float32, returns and excursions float64.
        ``attrs["both_touched_share"]`` is the share of the rows with a ``TTH`` whose first touch is a bar that touches
        both barriers; NaN where no row has one.

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    """
    settings = {
        "horizon": horizon,
        "barrier": barrier,
        "vol_window": vol_window,
        "horizons": horizons,
        "lower_barrier": lower_barrier,
        "touch": touch,
        "excess": excess,
    }
    columns, both_touched_share = label_columns(bars, settings, sessions, rows)
    labels = pd.DataFrame(columns, index=bars.index[rows], copy=False)
    for name in labels.columns[labels.dtypes == "datetime64[ns]"]:
        labels[name] = labels[name].dt.tz_localize("UTC")
    labels.attrs["both_touched_share"] = both_touched_share
    return labels


def label_columns(
    bars: pd.DataFrame, settings: dict, sessions: np.ndarray | None = None, rows: slice = slice(None)
) -> tuple[dict[str, np.ndarray], float]:
    """As `build_labels`, with the run config ``labels``: arrays by column, times in UTC, and ``both_touched_share``."""
    _check_settings(**settings)
    timestamp = bars["timestamp"].to_numpy("datetime64[ns]")
    high, low, close = (
        np.require(bars[name].to_numpy(np.float64), requirements="CW") for name in ("high", "low", "close")
    )
    with np.errstate(over="ignore"):  # prices may leap by any factor
        sigma = rolling_std(np.log(close / lagged(close, 1)), settings["vol_window"], 1)
    barrier, lower_barrier = settings["barrier"], settings["lower_barrier"] or settings["barrier"]
    columns: dict[str, np.ndarray] = {}
    for h in (settings["horizon"], *settings["horizons"]):
        paths = measure_paths(timestamp, _numbers(bars, sessions, h), h, settings["vol_window"])
        with np.errstate(over="ignore"):  # a barrier at infinity is never touched
            scale = np.sqrt(paths.expected)
            upper, lower = close * np.exp(barrier * scale * sigma), close * np.exp(-lower_barrier * scale * sigma)
        only_closes = settings["touch"] == "close"
        touches, excursions, both_touched = path_columns(high, low, close, only_closes, upper, lower, paths.ahead)
        made = [*touches, *excursions]
        if settings["excess"]:
            known = f"panel_return_{h}" in bars
            made.append(made[-1] - (bars[f"panel_return_{h}"].to_numpy() if known else np.nan))
        if h == settings["horizon"]:
            suffix, both = "", both_touched[rows][np.isfinite(made[3][rows])]
        else:
            suffix = f"_h{h}"
        columns |= {column_name(label, h, suffix): values[rows] for label, values in zip(LABELS, made, strict=False)}
        ends = np.where(paths.ahead > 0, timestamp[np.arange(len(bars)) + paths.ahead], np.datetime64("NaT"))
        columns[f"label_end{suffix}"] = ends[rows]
    return columns, float(both.mean()) if len(both) else float("nan")


def settled_rows(bars: pd.DataFrame, settings: dict, sessions: np.ndarray | None = None) -> int:
    """How many rows, from the first on, have labels that no later bar can change.

    Parameters
    ----------
    bars, sessions
        As for `build_labels`.
    settings : dict
        The run config ``labels``.
    """
    timestamp = bars["timestamp"].to_numpy("datetime64[ns]")
    horizons = (settings["horizon"], *settings["horizons"])
    return min(settled_paths(timestamp, _numbers(bars, sessions, h), h) for h in horizons)


def first_needed(bars: pd.DataFrame, settings: dict, row: int, sessions: np.ndarray | None = None) -> int:
    """The first row that labels from ``row`` on depend on; arguments as for `settled_rows`."""
    needed = row - settings["vol_window"]
    for h in (settings["horizon"], *settings["horizons"]):
        if isinstance(h, str) and h.endswith("d") and row < len(bars):
            numbers = _numbers(bars, sessions, h)
            # One more: the sessions before the bar's own count only where the series is known to reach back to them.
            needed = min(needed, int(np.searchsorted(numbers, numbers[row] - int(h[:-1]))) - 1)
    return max(needed, 0)


def panel_forward_returns(
    bars: dict[str, pd.DataFrame], settings: dict, sessions: dict[str, np.ndarray] | None = None
) -> dict[str, pd.DataFrame]:
    """Mean forward return of the panel's symbols, for each row of each symbol.

    For bar t of a symbol it is the mean of the forward returns of all symbols with a bar of the same timestamp, of
    which those count whose path ends no later than this symbol's does: the others are not known at its ``label_end``.

    Parameters
    ----------
    bars : dict of str to DataFrame
        Bars per symbol, as for `build_labels`.
    settings : dict
        The run config ``labels``.
    sessions : dict of str to (n,) int, optional
        Per symbol, as for `build_labels`.

    Returns
    -------
    dict of str to DataFrame
        Per symbol, aligned with its bars, a column ``panel_return_<h>`` per horizon. NaN where the forward return of
        the symbol itself is missing, and where no other one counts.
    """
    _check_excess((settings["horizon"], *settings["horizons"]))
    symbols = sorted(bars)
    sizes = [len(bars[symbol]) for symbol in symbols]
    columns = {}
    for h in (settings["horizon"], *settings["horizons"]):
        parts = [
            _forward_returns(bars[symbol], sessions and sessions[symbol], h, settings["vol_window"])
            for symbol in symbols
        ]
        columns[f"panel_return_{h}"] = _mean_known(pd.concat(parts, ignore_index=True))
    whole = pd.DataFrame(columns)
    stops = np.cumsum(sizes)
    return {
        symbol: whole.iloc[stop - size : stop].set_axis(bars[symbol].index)
        for symbol, size, stop in zip(symbols, sizes, stops, strict=True)
    }


def _forward_returns(bars: pd.DataFrame, sessions: np.ndarray | None, horizon: int | str, window: int) -> pd.DataFrame:
    """Timestamp, end of the path and forward return of each bar."""
    timestamp, close = bars["timestamp"].to_numpy("datetime64[ns]"), bars["close"].to_numpy(np.float64)
    paths = measure_paths(timestamp, _numbers(bars, sessions, horizon), horizon, window)
    last = np.arange(len(bars)) + paths.ahead
    with np.errstate(over="ignore"):
        change = np.where(paths.ahead > 0, close[last] / close - 1.0, np.nan)
    return pd.DataFrame({"timestamp": timestamp, "end": timestamp[last], "change": change})


def _mean_known(rows: pd.DataFrame) -> np.ndarray:
    """Per row, the mean change of the rows with its timestamp that end no later; NaN where it is the only one."""
    known = rows[rows["change"].notna()].sort_values(["timestamp", "end"], kind="stable")
    changes = known.groupby("timestamp")["change"]
    known = known.assign(total=changes.cumsum(), count=changes.cumcount() + 1)
    known = known.assign(**known.groupby(["timestamp", "end"])[["total", "count"]].transform("last"))
    mean = (known["total"] / known["count"]).where(known["count"] > 1)
    return mean.reindex(rows.index).to_numpy()


def _numbers(bars: pd.DataFrame, sessions: np.ndarray | None, horizon: int | str) -> np.ndarray | None:
    """The sessions to count by: those given, else the bars' own for a horizon of sessions."""
    if sessions is None and isinstance(horizon, str) and horizon.endswith("d"):
        return np.unique(row_sessions(bars), return_inverse=True)[1]
    return sessions


def _check_excess(horizons: tuple[int | str, ...]) -> None:
    """Refuse spans: only later bars tell whether another symbol's is over, so a mean would know who trades again."""
    spans = [horizon for horizon in horizons if isinstance(horizon, str)]
    if spans:
        raise ConfigError(f"excess: needs horizons in bars, got {spans[0]}; give a number of bars, or excess: false")


def _check_settings(
    horizon: int | str,
    horizons: list[int | str] | tuple[int | str, ...],
    barrier: float,
    lower_barrier: float,
    vol_window: int,
    touch: str,
    excess: bool,
) -> None:
    for name, value in (("horizon", horizon), *(("horizons", further) for further in horizons)):
        if isinstance(value, str):
            if not _SPAN.fullmatch(value):
                raise ConfigError(f"{name}: must be a number of bars or a span such as 30m, 4h or 5d, got {value!r}")
        elif value < 1:
            raise ConfigError(f"{name}: at least 1 bar is needed, got {value}")
    if excess:
        _check_excess((horizon, *horizons))
    if len({horizon, *horizons}) < 1 + len(horizons):
        listed = ", ".join(map(str, horizons))
        raise ConfigError(f"horizons: must differ from each other and from horizon {horizon}, got {listed}")
    if vol_window < 2:
        raise ConfigError(f"vol_window: at least 2 bars are needed, got {vol_window}")
    if not barrier > 0:
        raise ConfigError(f"barrier: must be above 0 standard deviations, got {barrier}")
    if not lower_barrier >= 0:
        raise ConfigError(f"lower_barrier: must be at least 0 standard deviations, got {lower_barrier}")
    if touch not in TOUCHES:
        raise ConfigError(f"touch: unknown value {touch!r}{did_you_mean(touch, TOUCHES)}")
