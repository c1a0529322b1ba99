"""A symbol in chunks, or stored and resumed between them, has the features it has at once, bit for bit."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from DATA_PROCESSING.features.feature import Feature
from DATA_PROCESSING.features.stream import FeatureStream
from DATA_PROCESSING.features.table import feature_table
from DATA_PROCESSING.features.windows import rolling_mean

EVERYTHING = feature_table("comprehensive")
# The longest of these looks 12 bars back, so that short bars go through every state of a stream.
SHORT = tuple(feature for feature in EVERYTHING if feature.lookback <= 12)
CUTS = st.lists(st.sampled_from([1, 2, 7, 30, 250]), min_size=1, max_size=40)
CHARACTERS = st.sampled_from(["smooth", "ticks", "broken", "wild"])


def bits(features: pd.DataFrame) -> np.ndarray:
    return np.ascontiguousarray(features.to_numpy()).view(np.uint32)


def in_chunks(features, bars, cuts, timeframes=None, restored=False) -> pd.DataFrame:
    stream, chunks, start = FeatureStream(features, timeframes), [], 0
    for cut in [*cuts, len(bars)]:
        chunks.append(stream.push(bars.iloc[start : start + cut]))
        start += cut
        if restored:
            buffer = io.BytesIO()
            np.savez(buffer, **stream.state())
            with np.load(io.BytesIO(buffer.getvalue()), allow_pickle=False) as stored:
                stream = FeatureStream(features, timeframes).restore(dict(stored))
    return pd.concat(chunks)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), character=CHARACTERS, cuts=CUTS, restored=st.booleans())
def test_chunks_change_no_bit(make_bars, seed, character, cuts, restored):
    bars = make_bars(sum(cuts) + 5, seed, character)
    whole = FeatureStream(SHORT).push(bars)
    np.testing.assert_array_equal(bits(in_chunks(SHORT, bars, cuts, restored=restored)), bits(whole))


@pytest.mark.parametrize("character", ["smooth", "ticks", "broken", "wild"])
def test_chunks_change_no_bit_of_any_feature(make_bars, character):
    bars = make_bars(1500, 3, character)
    cuts = [300, 1, 1, 400, 2, 77, 500, 1]
    np.testing.assert_array_equal(
        bits(in_chunks(EVERYTHING, bars, cuts, restored=True)), bits(FeatureStream(EVERYTHING).push(bars))
    )


def test_long_bars_are_computed_in_pieces(make_bars, monkeypatch):
    bars = make_bars(2000, 1)
    whole = FeatureStream(EVERYTHING).push(bars)
    monkeypatch.setattr("DATA_PROCESSING.features.stream.CHUNK_ROWS", 600)
    np.testing.assert_array_equal(bits(FeatureStream(EVERYTHING).push(bars)), bits(whole))


def test_a_lookback_that_is_told_too_short_would_be_noticed(make_bars):
    def slow(bars):
        return bars.close / rolling_mean(bars.close, 50) - 1.0

    honest, liar = (Feature("slow", slow, (), lookback, "") for lookback in (49, 20))
    bars = make_bars(400, 2)
    for feature, same in ((honest, True), (liar, False)):
        whole, pieces = FeatureStream((feature,)).push(bars), in_chunks((feature,), bars, [150, 150])
        assert np.array_equal(bits(whole), bits(pieces)) == same


def test_the_tail_is_bounded(make_bars):
    stream = FeatureStream(EVERYTHING)
    for start in range(0, 6000, 1000):
        stream.push(make_bars(6000, 4).iloc[start : start + 1000])
        assert len(stream.tail) <= 2 * stream.reach
    assert stream.rows == 6000


def test_infinity_never_appears(make_bars):
    for character in ("ticks", "broken", "wild"):
        assert not np.isinf(FeatureStream(EVERYTHING).push(make_bars(700, 9, character)).to_numpy()).any()
