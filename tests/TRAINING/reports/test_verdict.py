from __future__ import annotations

import pandas as pd
import pytest

from TRAINING.reports.leaderboard import complete
from TRAINING.reports.verdict import against, cards, headline


def board(*models: tuple[str, str, str], target: str = "t") -> pd.DataFrame:
    """Two baselines with a loss, three with a Sharpe ratio, and models as (name, beaten on loss, beaten on Sharpe)."""
    baselines = [("mean", 1.0, 0.1), ("ridge", 1.0, 0.1), ("buy_and_hold", None, 0.1)]
    rows = [
        {"model": name, "target": target, "kind": "baseline", "loss": loss, "sharpe": sharpe, "loss_name": "rmse"}
        for name, loss, sharpe in baselines
    ]
    rows += [
        {"model": name, "target": target, "kind": "model", "loss": 1.0, "sharpe": 0.1, "loss_name": "rmse",
         "beats_score": loss, "beats_money": money}
        for name, loss, money in models
    ]  # fmt: skip
    return complete(pd.DataFrame(rows))


EVERY = "mean,ridge,buy_and_hold"


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([("a", "", ""), ("b", "", "")], "No model beat a baseline"),
        (
            [("a", "", ""), ("b", "mean", "")],
            "nearest is b on t: a lower RMSE than 1 of 2 and a higher Sharpe ratio after",
        ),
        ([("a", "mean", ""), ("b", "mean,ridge", "")], "b predicted better than all 2 baselines, but its Sharpe ratio"),
        ([("a", "mean,ridge", "mean")], "beat only 1 of 3"),
        ([("a", "mean", EVERY)], "predicted better than only 1 of 2: more likely luck than skill"),
        (
            [("a", "mean,ridge", "mean"), ("b", "mean,ridge", EVERY)],
            "b predicted better than all 2 baselines and earned",
        ),
    ],
)
def test_the_headline_says_no_more_than_the_intervals_do(models, said):
    assert said in headline(board(*models))


def test_a_name_that_is_no_baseline_of_the_target_counts_for_nothing():
    assert "No model beat a baseline" in headline(board(("a", "logistic", "someone")))


def test_without_models_or_baselines_there_is_nothing_to_say():
    whole = board(("a", EVERY, EVERY))
    assert "No model was scored" in headline(whole[whole["kind"] == "baseline"])
    assert "no baseline to compare with" in headline(whole[whole["kind"] == "model"])
    assert "No model was scored" in headline(complete(pd.DataFrame()))


def test_a_card_is_of_the_first_model_of_each_target():
    both = pd.concat([board(("a", "mean", ""), ("b", "", "")), board(("b", "", ""), target="u")])
    found = cards(both)
    assert [(card.target, card.model) for card in found] == [("t", "a"), ("u", "b")]
    assert found[0].comparisons[0] == ("RMSE", ("mean",), ("mean", "ridge"))


def test_a_model_without_a_loss_is_compared_by_money_alone():
    leads = board(("a", "", EVERY), ("b", "", ""))
    leads.loc[leads["model"] == "a", "loss"] = float("nan")
    assert "all 3 baselines, but has no error that could be compared" in headline(leads)
    loss, money = cards(leads)[0].comparisons
    assert loss == ("RMSE", (), ())
    assert len(money[2]) == 3


def test_against_names_those_that_were_not_beaten():
    assert against(("a",), ("a", "b")) == "beats 1 of 2 baselines (not b)"
    assert against(("a", "b"), ("a", "b")) == "beats all 2 baselines"
    assert against((), ("a", "b")) == "beats none of 2 baselines"
    assert against((), ()) == "no baseline to compare with"
