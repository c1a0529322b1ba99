"""Tables of several symbols in one panel."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from CONFIG.errors import DataError
from DATA_PROCESSING.labeled import read_table
from TRAINING.walkforward.panel import LabeledPanel, join_symbols


def own_table(symbol: object) -> pd.DataFrame:
    times = pd.bdate_range("2020-01-01", periods=6, tz="UTC")
    return pd.DataFrame(
        {"timestamp": times, "symbol": symbol, "close": 100.0, "a": np.arange(6.0), "y_own": [0.0, 1] * 3,
         "label_end": times}
    )  # fmt: skip


def test_tables_that_name_their_symbol_themselves_are_joined_by_their_keys() -> None:
    plain = own_table("x").drop(columns="symbol")
    named = {"AAA": own_table("AAA"), "BBB": own_table("the second")}
    joined = join_symbols(named)
    pd.testing.assert_frame_equal(joined, join_symbols(dict.fromkeys(named, plain)))
    panel = LabeledPanel.of(joined)
    assert panel.symbols == ["AAA", "BBB"]
    assert list(panel.dataset("y_own").X) == ["a"]
    assert "symbol" in named["AAA"]  # which stays as it was


def test_a_table_of_several_symbols_is_told(tmp_path) -> None:
    own_table("AAA").to_parquet(tmp_path / "AAA.parquet")
    assert len(read_table(tmp_path / "AAA.parquet")) == 6
    own_table(["AAA"] * 3 + ["BBB"] * 3).to_parquet(tmp_path / "AAA.parquet")
    with pytest.raises(DataError, match="are of one symbol, and its column symbol holds 'AAA', 'BBB'; split it"):
        read_table(tmp_path / "AAA.parquet")
