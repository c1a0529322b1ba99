"""Whether a user's features keep the promises of our table, tried on the user's own bars before they are used.

Row t may use bars up to t only, at most ``lookback`` of them before it. No trial can prove that of a function; these
find what breaks it often, and have a good chance with what breaks it rarely:

- Rows are computed again from their last ``lookback + 1`` bars alone, those before a new day or month and before the
  largest moves first, then as many others as time allows: a look at the next bar is found wherever it happened.
- The bars from some rows on are made ten times as high, a tenth, flat, shuffled, or later.
- The file runs afresh on bars that end early: there it cannot remember the rest.
- All of this once more on bars that move much further, where what is rare in the bars is not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError
from DATA_PROCESSING.columns import PRICE_COLUMNS
from DATA_PROCESSING.features.feature import BarsView, Feature
from DATA_PROCESSING.features.own import OwnFeatures
from DATA_PROCESSING.features.stream import FeatureStream

log = logging.getLogger("barzoo")
SAMPLE_ROWS = 4000  # bars of a sample at most
EARLY_ENDS = (0.2, 0.5, 0.8, 1.0)  # per sample: the share of its bars that the file run afresh gets, but not all
ROUGHNESS = 4
FUTURES = 6  # rows from which on bars are changed
STRIKING_ROWS = 40  # rows of a kind that are computed alone first
FEWEST_ROWS = 50  # rows that are computed alone, however long it takes
ROUNDING = 1e-8  # a difference below this share of the values is rounding
FLOAT32_ROUNDING = 1e-6
SCALE_ROUNDING = 1e-5
SCALE = 1.7  # prices times this, volumes by it
LATER = np.timedelta64(40, "D")


class _Refusal(Exception):
    """What is wrong with a feature, in words."""


@dataclass(frozen=True)
class _Sample:
    """Consecutive bars of a symbol, the arrays of a view of them, and the file run afresh for an early end of them."""

    symbol: str
    bars: pd.DataFrame
    arrays: dict[str, np.ndarray]
    afresh: OwnFeatures
    early_end: int

    def view(self, start: int = 0, stop: int | None = None, **others: np.ndarray) -> BarsView:
        """A view of the bars from row ``start`` to ``stop``, with ``others`` in place of some arrays."""
        return BarsView(**{name: x[start:stop].copy() for name, x in (self.arrays | others).items()})

    def time(self, row: int) -> str:
        """The timestamp of a row, in words."""
        return np.datetime_as_string(self.arrays["timestamp"][row], unit="s").replace("T", " ")


def audit(
    own: OwnFeatures, bars: dict[str, pd.DataFrame], beside: tuple[Feature, ...] = (), seconds: float = 3.0
) -> None:
    """Refuse features that look ahead, or break what building in pieces relies on; warn of doubtful ones.

    Parameters
    ----------
    own : OwnFeatures
    bars : dict of str to DataFrame
        Per symbol its bars, as for `DATA_PROCESSING.features.build.build_features`.
    beside : tuple of Feature
        The features that are computed from the same views.
    seconds : float
        Time for all rows that are computed alone; a few are, whatever time it takes.

    Raises
    ------
    ConfigError
        A feature raises; gives something other than n float64 values; changes the bars; differs when computed again;
        looks ahead; needs more than its lookback; or takes another series' name for an average. Every refused feature,
        one a line, with the symbol, the row and both values.
    """
    samples = _samples(own, bars)
    end = time.monotonic() + seconds
    refusals, series = [], _series(beside, samples[0]) if samples else {}
    for number, feature in enumerate(own.features):
        share = max(end - time.monotonic(), 0.0) / (len(own.features) - number) / max(len(samples), 1)
        trials = [_Trial(own, number, sample) for sample in samples]
        try:
            for trial in trials:
                trial.run(share)
            if trials:
                _check_series(series, _series((feature,), samples[0]))
                _warn(feature.name, own, trials)
        except _Refusal as refusal:
            refusals.append(f"{own.path}: {feature.name}: {refusal}")
    if refusals:
        raise ConfigError("\n".join(refusals))


def _samples(own: OwnFeatures, bars: dict[str, pd.DataFrame]) -> list[_Sample]:
    """Stretches of bars of the longest to the shortest symbol, each from another part of the time, and rougher ones."""
    symbols = sorted((symbol for symbol in bars if len(bars[symbol])), key=lambda symbol: (-len(bars[symbol]), symbol))
    parts, last = {}, len(EARLY_ENDS) - 1
    for number in range(len(EARLY_ENDS)) if symbols else ():
        symbol = symbols[number * (len(symbols) - 1) // last]
        start = max(len(bars[symbol]) - SAMPLE_ROWS, 0) * (last - number) // last
        parts[symbol, start] = bars[symbol].iloc[start : start + SAMPLE_ROWS].reset_index(drop=True)
    samples = [
        _sample(own, symbol, part, end) for ((symbol, _), part), end in zip(parts.items(), EARLY_ENDS, strict=False)
    ]
    for sample in samples[:1]:
        name = f"{sample.symbol} with {ROUGHNESS} times its moves"
        samples.append(_sample(own, name, _rougher(sample.bars), EARLY_ENDS[-1]))
    return samples


def _sample(own: OwnFeatures, symbol: str, bars: pd.DataFrame, end: float) -> _Sample:
    view = BarsView.of(bars)
    arrays = {field.name: getattr(view, field.name) for field in fields(view)}
    arrays = {name: x for name, x in arrays.items() if isinstance(x, np.ndarray)}
    return _Sample(symbol, bars, arrays, own.afresh(), max(min(round(end * len(bars)), len(bars) - 1), 1))


def _rougher(bars: pd.DataFrame) -> pd.DataFrame:
    """Bars whose log prices and volumes move several times as far: what is rare in the bars is not in these."""
    means = dict.fromkeys(PRICE_COLUMNS, bars["close"].iloc[0]) | {"volume": bars["volume"].mean() or 1.0}
    return bars.assign(**{name: (bars[name] / mean) ** ROUGHNESS * mean for name, mean in means.items()})


class _Trial:
    """One feature of a file on one sample.

    Attributes
    ----------
    whole : (n,) float64
        What it gives for all bars, once `run` has begun; NaN for infinity.
    rounded : int or None
        A row of which only the last digits depend on bars that should not count.
    """

    def __init__(self, own: OwnFeatures, number: int, sample: _Sample):
        self.own, self.number, self.sample = own, number, sample
        self.feature = own.features[number]
        self.whole = np.empty(0)
        self.rounded: int | None = None

    def run(self, seconds: float) -> None:
        """Refuse the feature for the first thing that is wrong; ``seconds`` are for the rows computed alone."""
        view = self.sample.view()
        self.whole = self.values(view)
        complaint = (
            "differs when computed again: {about}, then {other}; it must depend on its bars alone, and change none"
        )
        self.compare(self.values(view), 0, complaint)
        self.try_end(self.sample.early_end, self.sample.afresh)
        for stop in range(1, min(3, self.whole.size)):
            self.try_end(stop, self.own)
        self.try_other_futures()
        self.try_rows_alone(time.monotonic() + seconds)
        if self.feature.recursive:
            self.try_pieces()

    def values(self, view: BarsView, feature: Feature | None = None) -> np.ndarray:
        """What the feature gives for a view, checked; NaN for infinity."""
        feature, size = feature or self.feature, view.close.size
        bars = f"{self.sample.symbol}, {size:,} bar{'s' * (size != 1)}"
        before = BarsView(**{name: getattr(view, name).copy() for name in self.sample.arrays})
        try:
            with np.errstate(all="ignore"):
                values = feature.compute(view, *feature.arguments)
                changed = [name for name, x in vars(view).items() if _is_changed(x, before, name)]
        except Exception as error:
            raise _Refusal(f"raises {self.own.line_of(error)} on {bars}") from error
        if not isinstance(values, np.ndarray):
            kind = type(values).__name__
            raise _Refusal(f"gives a {kind} for {bars}; give an array of numpy, as .to_numpy() does")
        if values.shape != (size,):
            raise _Refusal(f"gives an array of shape {values.shape} for {bars}; give a value per bar, NaN for none")
        if values.dtype != np.float64:
            raise _Refusal(f"gives {values.dtype} for {bars}; give float64, as .astype(float) does")
        if changed:
            raise _Refusal(f"changes bars.{changed[0]}, which other features use; let it change a copy")
        return np.where(np.isfinite(values), values, np.nan)

    def compare(self, other: np.ndarray, first: int, complaint: str) -> None:
        """Refuse where ``other`` differs from the values at row ``first`` and on; remember differences by rounding."""
        expected = self.whole[first : first + other.size]
        rows = _differing(expected, other)
        if not rows.size:
            return
        typical = np.nanmean(np.abs(self.whole)) if np.isfinite(self.whole).any() else 0.0
        allowed = ROUNDING * np.maximum(np.abs(expected[rows]), typical)
        wrong = rows[~(np.abs(expected[rows] - other[rows]) <= allowed)]
        if not wrong.size:
            self.rounded = first + int(rows[0])
            return
        row = wrong[-1]
        about = f"{self.sample.symbol} at {self.sample.time(first + row)} is {expected[row]:.9g}"
        raise _Refusal(complaint.format(about=about, other=f"{other[row]:.9g}"))

    def try_end(self, stop: int, run: OwnFeatures) -> None:
        """Compare with bars that end before row ``stop``."""
        values = self.values(self.sample.view(stop=stop), run.features[self.number])
        complaint = f"looks ahead: {{about}}, but {{other}} when the bars end at {self.sample.time(stop - 1)}"
        self.compare(values, 0, complaint)

    def try_other_futures(self) -> None:
        for row, change, arrays in _other_futures(self.sample):
            values = self.values(self.sample.view(**arrays))
            complaint = (
                f"looks ahead: {{about}}, but {{other}} when the bars from {self.sample.time(row)} on are {change}"
            )
            self.compare(values[:row], 0, complaint)

    def try_rows_alone(self, until: float) -> None:
        """Compute rows from the bars that they may use; for a recursive feature that is all of the bars before."""
        reach = self.whole.size if self.feature.recursive else self.feature.lookback
        complaint = (
            f"needs more than its lookback of {reach}: {{about}}, but {{other}} from its last {reach + 1} bars; raise "
            "lookback, or take bars.exponential or bars.wilder, with recursive=True, for what remembers all bars"
        )
        for count, row in enumerate(_rows_in_order(self.sample)):
            if count >= FEWEST_ROWS and time.monotonic() > until:
                return
            value = self.values(self.sample.view(max(row - reach, 0), row + 1))[-1:]
            try:
                self.compare(value, row, complaint)
            except _Refusal:
                self.try_end(row + 1, self.own.afresh())  # it may be the bars after the row that count
                raise

    def try_pieces(self) -> None:
        """Build the column in pieces, as it is built when bars are many or new."""
        bars, stream = self.sample.bars, FeatureStream((self.feature,))
        edges = [0, *(int(share * len(bars)) for share in (0.5, 0.6, 0.8)), len(bars)]
        pieces = pd.concat([stream.push(bars.iloc[start:stop]) for start, stop in pairwise(edges)])
        whole = FeatureStream((self.feature,)).push(bars)
        expected, values = (table.iloc[:, 0].to_numpy(np.float64) for table in (whole, pieces))
        rows = _differing(expected, values)
        rows = rows[~(np.abs(expected - values)[rows] <= FLOAT32_ROUNDING * np.abs(expected[rows]))]
        if rows.size:
            about = f"{self.sample.symbol} at {self.sample.time(rows[0])} is {expected[rows[0]]:.9g}"
            raise _Refusal(
                f"differs when built in pieces: {about}, but {values[rows[0]]:.9g} after pieces; raise lookback, and "
                "let bars.exponential and bars.wilder keep all that remembers more"
            )


def _is_changed(x: object, before: BarsView, name: str) -> bool:
    """Whether an array of a view is no longer what it was."""
    return isinstance(x, np.ndarray) and x.tobytes() != getattr(before, name).tobytes()


def _differing(expected: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows at which two arrays differ; NaN is NaN."""
    return np.flatnonzero(~((expected == other) | (np.isnan(expected) & np.isnan(other))))


def _other_futures(sample: _Sample) -> Iterator[tuple[int, str, dict[str, np.ndarray]]]:
    """Rows, words for what happens to the bars from there on, and the arrays that it changes."""
    random = np.random.default_rng(0)
    numbers = {name: x for name, x in sample.arrays.items() if name != "timestamp"}
    for row in np.unique(np.linspace(0, len(sample.bars), FUTURES + 2)[1:-1].astype(int)):
        order = np.append(np.arange(row), row + random.permutation(len(sample.bars) - row))
        later = np.arange(len(order)) >= row
        for factor, change in ((10.0, "ten times as high"), (0.1, "a tenth as high")):
            names = (*PRICE_COLUMNS, "volume")
            arrays = {name: np.where(later, factor * numbers[name], numbers[name]) for name in names}
            arrays["market_return"] = np.where(later, factor - 1.0, numbers["market_return"])
            yield row, change, arrays
        flat = np.where(later, numbers["close"][max(row - 1, 0)], np.nan)
        yield row, "flat", {name: np.where(later, flat, numbers[name]) for name in PRICE_COLUMNS}
        yield row, "shuffled", {name: x[order] for name, x in numbers.items()}
        times = sample.arrays["timestamp"]
        yield row, f"{LATER.astype(int)} days later", {"timestamp": np.where(later, times + LATER, times)}


def _rows_in_order(sample: _Sample) -> list[int]:
    """All rows, each once: first those before a new month, day or session's gap, and before the largest moves."""
    times, random = sample.arrays["timestamp"], np.random.default_rng(0)
    turns = [np.flatnonzero(np.diff(times.astype(f"datetime64[{unit}]").astype(int)))[-STRIKING_ROWS:] for unit in "MD"]
    with np.errstate(all="ignore"):
        changes = [np.diff(np.log(sample.arrays[name])) for name in ("close", "volume")]
    changes += [np.diff(times.astype(np.int64)).astype(float)]
    moves = [np.argsort(-np.abs(np.nan_to_num(change, posinf=0.0, neginf=0.0)))[:STRIKING_ROWS] for change in changes]
    rows = np.concatenate([*turns, *moves, random.permutation(len(times))])
    return list(dict.fromkeys(rows.tolist()))


def _series(features: tuple[Feature, ...], sample: _Sample) -> dict[str, tuple[int, float]]:
    """The state, after all bars, of each average that features keep in the view, by the name of its series."""
    view = sample.view()
    view.memory.keep = len(sample.bars)
    with np.errstate(all="ignore"):
        for feature in features:
            feature.compute(view, *feature.arguments)
    return view.memory.after


def _check_series(known: dict[str, tuple[int, float]], own: dict[str, tuple[int, float]]) -> None:
    """Refuse names that mean another series already, and add the others to the known ones."""
    for name, state in own.items():
        if known.setdefault(name, state) != state:
            raise _Refusal(
                f"calls a series as another feature calls another series ({name}); give it a name of its own"
            )


def _warn(name: str, own: OwnFeatures, trials: list[_Trial]) -> None:
    """Say what is doubtful of a feature that was not refused."""
    where = f"{own.path}: {name}"
    for trial in (trial for trial in trials if trial.rounded is not None):
        log.warning(
            "%s: the last digits depend on bars that should not count (%s at %s); running sums do that, the kernels of "
            "DATA_PROCESSING.features.windows do not",
            *(where, trial.sample.symbol, trial.sample.time(trial.rounded)),
        )
        break
    if not any(np.isfinite(trial.whole).any() for trial in trials):
        log.warning("%s: no value in %s bars", where, f"{max(trial.whole.size for trial in trials):,}")
        return
    trial = trials[0]
    prices = {column: SCALE * trial.sample.arrays[column] for column in PRICE_COLUMNS}
    scaled = trial.values(trial.sample.view(**prices, volume=trial.sample.arrays["volume"] / SCALE))
    rows = _differing(trial.whole, scaled)
    largest = np.nanmax(np.abs(trial.whole)) if np.isfinite(trial.whole).any() else 0.0
    far = ~(np.abs(trial.whole - scaled)[rows] <= SCALE_ROUNDING * largest)
    if far.any():
        row = rows[far][-1]
        log.warning(
            "%s: is no ratio: %s at %s is %.6g, and %.6g at prices times %s and volumes by it; adjusted prices carry "
            "the splits and dividends of the future, so a level knows them",
            *(where, trial.sample.symbol, trial.sample.time(row), trial.whole[row], scaled[row], SCALE),
        )
