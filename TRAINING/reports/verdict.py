"""What the leaderboard says, in plain and cautious words."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from TRAINING.reports.columns import COLUMNS, DASH, label_of, number, typeset
from TRAINING.reports.leaderboard import beaten, rivals


@dataclass(frozen=True)
class Evidence:
    """One model against its target's baselines; the tuples hold baselines' names, none where it has no such figure."""

    model: str
    target: str
    loss_name: str
    loss_rivals: tuple[str, ...]
    loss_beaten: tuple[str, ...]
    money_rivals: tuple[str, ...]
    money_beaten: tuple[str, ...]

    @property
    def predicts(self) -> bool:
        """Lower loss than every baseline that has one."""
        return bool(self.loss_rivals) and len(self.loss_beaten) == len(self.loss_rivals)

    @property
    def earns(self) -> bool:
        """A higher Sharpe ratio than every baseline that has one."""
        return bool(self.money_rivals) and len(self.money_beaten) == len(self.money_rivals)

    @property
    def strength(self) -> tuple[int, int]:
        """Sorts from no evidence to evidence of both kinds."""
        return 2 * (self.predicts + self.earns) + self.earns, len(self.loss_beaten) + len(self.money_beaten)


def evidence(leaderboard: pd.DataFrame) -> list[Evidence]:
    """One entry per model row of a complete leaderboard, in its order."""
    found = []
    for row in leaderboard[leaderboard["kind"] == "model"].to_dict("records"):
        found.append(
            Evidence(
                model=str(row["model"]),
                target=str(row["target"]),
                loss_name=label_of(row["loss_name"]) or "loss",
                loss_rivals=rivals(leaderboard, row["target"], "loss") if pd.notna(row["loss"]) else (),
                loss_beaten=beaten(leaderboard, row, "loss"),
                money_rivals=rivals(leaderboard, row["target"], "sharpe") if pd.notna(row["sharpe"]) else (),
                money_beaten=beaten(leaderboard, row, "sharpe"),
            )
        )
    return found


def headline(leaderboard: pd.DataFrame) -> str:
    """One sentence: which model won, on what, against which baselines; or that none did."""
    found = evidence(leaderboard)
    if not found:
        return "No model was scored, so there is nothing to compare."
    best = max(found, key=lambda entry: entry.strength)  # the first of equals: the better ranked
    if not any(entry.loss_rivals or entry.money_rivals for entry in found):
        return "There is no baseline to compare with, so these figures say nothing about skill yet."
    who, losses, sharpes = f"On {best.target}, {best.model}", len(best.loss_rivals), len(best.money_rivals)
    if best.predicts and best.earns:
        return (
            f"{who} predicted better than {_all(losses)} and earned a higher Sharpe ratio after costs than "
            f"{_all(sharpes)}: worth a test on data it has not seen."
        )
    if best.predicts:
        money = (
            "the target has no rule for trading it"
            if not sharpes
            else "its Sharpe ratio after costs could not be told apart from any baseline's"
            if not best.money_beaten
            else f"its Sharpe ratio after costs beat only {len(best.money_beaten)} of {sharpes}"
        )
        return f"{who} predicted better than {_all(losses)}, but {money}."
    if best.earns and not losses:
        return (
            f"{who} earned a higher Sharpe ratio after costs than {_all(sharpes)}, but has no error that could be "
            "compared: more likely luck than skill until other data agree."
        )
    if best.earns:
        return (
            f"{who} earned a higher Sharpe ratio after costs than {_all(sharpes)}, but predicted better than only "
            f"{len(best.loss_beaten)} of {losses}: more likely luck than skill until other data agree."
        )
    if not best.loss_beaten and not best.money_beaten:
        return (
            "No model beat a baseline: no gain in prediction or in Sharpe ratio after costs could be told from chance."
        )
    told = [f"a lower {best.loss_name} than {len(best.loss_beaten)} of {losses}"] if losses else []
    told += [f"a higher Sharpe ratio after costs than {len(best.money_beaten)} of {sharpes}"] if sharpes else []
    nearest = f"The nearest is {best.model} on {best.target}: {' and '.join(told)}"
    return f"No model beat every baseline. {nearest}{'' if sharpes else '; the target has no rule for trading it'}."


def _all(count: int) -> str:
    return "the one baseline" if count == 1 else f"all {count} baselines"


@dataclass(frozen=True)
class Card:
    """The best-ranked model of one target.

    ``figures`` are (label, value, aside); ``comparisons`` are (measure, baselines beaten, all baselines).
    """

    target: str
    model: str
    figures: tuple[tuple[str, str, str], ...]
    comparisons: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]


def cards(leaderboard: pd.DataFrame) -> list[Card]:
    """One card per target that has a model."""
    rows = leaderboard[leaderboard["kind"] == "model"].to_dict("records")
    found: dict[str, Card] = {}
    for row, entry in zip(rows, evidence(leaderboard), strict=True):
        if entry.target in found:
            continue
        interval = f"{number(row['sharpe_low'])} to {number(row['sharpe_high'])}"
        figures = [("Sharpe", number(row["sharpe"]), "" if pd.isna(row["sharpe_low"]) else interval)]
        figures += [(label_of(row["score_name"]) or "score", COLUMNS["score"].write(row["score"]), "")]
        figures += [
            (COLUMNS[name].label, COLUMNS[name].write(row[name]), "") for name in ("annual_return", "max_drawdown")
        ]
        found[entry.target] = Card(
            entry.target, entry.model,
            tuple((label, typeset(value), typeset(aside)) for label, value, aside in figures if value != DASH),
            (
                (_capital(entry.loss_name), entry.loss_beaten, entry.loss_rivals),
                ("Sharpe ratio after costs", entry.money_beaten, entry.money_rivals),
            ),
        )  # fmt: skip
    return list(found.values())


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def against(beaten: tuple[str, ...], rivals: tuple[str, ...]) -> str:
    """``beats 2 of 3 baselines (not ridge)``: how many are beaten, and the others by name."""
    if not rivals:
        return "no baseline to compare with"
    missed = [name for name in rivals if name not in beaten]
    if not missed:
        return f"beats {_all(len(rivals))}"
    return (
        f"beats {len(beaten)} of {len(rivals)} baselines (not {', '.join(missed)})"
        if beaten
        else f"beats none of {len(rivals)} baselines"
    )
