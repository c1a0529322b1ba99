from __future__ import annotations

from io import StringIO

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from CONFIG.errors import ConfigError
from TRAINING.reports.leaderboard import FIELDS, leaderboard_csv, leaderboard_table, rank


def board(**columns: list) -> pd.DataFrame:
    frame = pd.DataFrame(columns)
    for name in ("model", "target"):
        if name not in frame:
            frame[name] = [f"{name}_{place}" for place in range(len(frame))]
    return frame


@pytest.mark.parametrize(
    ("metric", "best_first"),
    [("sharpe", [3.0, 2.0, -1.0]), ("max_drawdown", [-0.1, -0.2, -0.5]), ("turnover", [1.0, 4.0, 9.0])],
)
def test_each_metric_knows_its_better_direction(metric, best_first):
    ranked = rank(board(**{metric: [best_first[1], best_first[2], best_first[0]]}), metric)
    assert ranked[metric].tolist() == best_first
    assert ranked["rank"].tolist() == [1, 2, 3]
    assert ranked.columns[0] == "rank"


def test_missing_values_come_last_and_ties_are_ordered_by_name():
    frame = board(
        sharpe=[np.nan, 1.0, 1.0, 1.0, np.inf], model=["a", "c", "b", "b", "z"], target=["t", "t", "u", "t", "t"]
    )
    ranked = rank(frame, "sharpe")
    assert list(zip(ranked["model"], ranked["target"], strict=True)) == [
        ("z", "t"), ("b", "t"), ("b", "u"), ("c", "t"), ("a", "t"),
    ]  # fmt: skip


def test_those_without_the_metric_are_ordered_by_score_target_by_target():
    frame = board(
        sharpe=[np.nan, np.nan, np.nan, np.nan, 1.0], model=list("abcde"), target=["t", "t", "s", "s", "u"],
        score=[0.1, 0.2, np.nan, -0.3, 0.0], score_name="rank_ic",
    )  # fmt: skip
    assert "".join(rank(frame, "sharpe")["model"]) == "edcba"


def test_rank_does_not_depend_on_the_order_of_rows_nor_on_an_old_rank(frames):
    ranked = frames["leaderboard"]
    pd.testing.assert_frame_equal(rank(ranked.sample(frac=1, random_state=3), "sharpe"), ranked)


def test_scores_are_compared_within_a_target_only():
    frame = board(
        target=["b", "a", "b", "a"], model=list("wxyz"), score=[0.02, 0.55, 0.04, 0.6],
        score_name=["rank_ic", "auc", "rank_ic", "auc"],
    )  # fmt: skip
    ranked = rank(frame, "score")
    assert ranked["model"].tolist() == ["z", "x", "y", "w"]
    assert ranked["rank"].tolist() == [1, 2, 1, 2]


def test_a_metric_may_be_named_as_the_score_or_loss_it_is():
    frame = board(
        target=["a", "a", "b"], model=list("xyz"), score_name=["auc", "auc", "rank_ic"], score=[0.5, 0.6, 0.9],
        loss_name=["log_loss", "log_loss", "rmse"], loss=[0.1, 0.2, 0.3],
    )  # fmt: skip
    assert rank(frame, "auc")["model"].tolist() == ["y", "x", "z"]
    assert rank(frame, "log_loss")["model"].tolist() == ["x", "y", "z"]


@pytest.mark.parametrize("metric", ["sharp", "model", "kind", ""])
def test_what_is_no_metric_is_an_error(metric):
    with pytest.raises(ConfigError, match="rank_by"):
        rank(board(sharpe=[1.0]), metric)


def test_a_metric_that_no_row_has_is_an_error():
    with pytest.raises(ConfigError, match="no row of this leaderboard has 'auc'"):
        rank(board(sharpe=[1.0], score_name=["rank_ic"], score=[0.1]), "auc")


def test_an_empty_leaderboard_has_all_fields():
    ranked = rank(pd.DataFrame(), "auc")
    assert ranked.empty
    assert set(FIELDS) <= set(ranked.columns)


def printed(frame: pd.DataFrame, width: int = 100) -> str:
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(leaderboard_table(frame))
    return capture.get()


def test_the_terminal_table_fits_100_columns_and_loses_nothing(frames):
    long = frames["leaderboard"].replace({"buy_and_hold": "a_model_with_quite_a_long_name"})
    long.loc[0, ["sharpe_low", "sharpe_high", "annual_return", "max_drawdown"]] = [-10.25, -11.75, 12.345, -0.999]
    text = printed(long)
    assert max(map(len, text.splitlines())) <= 100
    assert "…" not in text
    for shown in ("-10.25..-11.75", "1,234.5%", "-99.9%", "lightgbm", "fwd_ret_5", "rank_ic"):
        assert shown in text


def test_the_terminal_table_shows_dashes_for_missing_and_counts_for_beaten():
    frame = rank(
        board(
            model=["m", "base", "hold"], target=["t"] * 3, kind=["model", "baseline", "baseline"],
            sharpe=[1.0, np.nan, 0.5], loss=[0.1, 0.2, np.nan], hit_rate=[0.512, np.nan, np.nan],
            beats_score=["base", np.nan, np.nan], beats_money=["", np.nan, np.nan],
        )
    )  # fmt: skip
    model, hold, base = (line.split() for line in printed(frame).splitlines()[3:6])
    assert (model[1], model[-3:]) == ("m", ["51.2%", "1/1", "0/1"])
    assert hold[4] == "0.50"
    assert base[3:] == ["–"] * 6
    assert "nan" not in printed(frame)


def test_names_are_no_markup():
    assert "[red]m" in printed(rank(board(model=["[red]m"], sharpe=[1.0])))


def test_csv_reads_back_exactly_and_is_the_same_every_time(frames):
    frame = frames["leaderboard"]
    written = leaderboard_csv(frame)
    assert written == leaderboard_csv(frame.copy())
    assert "\r" not in written
    read = pd.read_csv(StringIO(written), float_precision="round_trip")
    for name in ("sharpe", "score", "loss", "annual_return", "profit_factor"):
        np.testing.assert_array_equal(read[name], frame[name])
    assert read["model"].tolist() == frame["model"].tolist()
