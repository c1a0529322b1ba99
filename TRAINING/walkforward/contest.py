"""The results of several walk-forwards on one panel, put together by target."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.baselines import BUY_AND_HOLD
from TRAINING.evaluation.metrics import row_loss
from TRAINING.evaluation.portfolio import by_session, portfolio
from TRAINING.evaluation.significance import default_block
from TRAINING.model_fun.registry import predicts_position
from TRAINING.walkforward.results import WalkForwardResults

_WINDOWS = ("train_days", "test_days", "step_days", "mode", "embargo_sessions")
_COLUMNS = ["symbol", "timestamp", "session", "fold", "y", "prediction", "close", "position", "position_change",
            "asset_return", "net_return"]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Contest:
    """The models and the baselines of one target, tested on the same folds of the same panel.

    Attributes
    ----------
    target, task : str
    horizon : int
        Of the labels, in sessions.
    models : tuple of str
        Those names that are no baselines.
    positions : tuple of str
        Those models whose predictions are positions rather than guesses at the label: they have no error.
    rows : DataFrame
        What `TRAINING.evaluation.breakdown` reads, and the ``loss`` of each row. Bars in no fold, on which positions
        end, have no label here.
    """

    target: str
    task: str
    horizon: int
    models: tuple[str, ...]
    positions: tuple[str, ...]
    rows: pd.DataFrame

    @classmethod
    def of(cls, results: dict[str, WalkForwardResults]) -> Contest:
        """Join the results of one target, by the names of their models; baselines that several have count once."""
        about, parts = next(iter(results.values())).manifest, {}
        several_scopes = _several_scopes(results.values())
        for model, result in results.items():
            for name, rows in result.predictions.groupby("model", sort=False):
                if name == result.manifest["model"]:
                    name = model
                elif several_scopes and name != BUY_AND_HOLD:
                    name = f"{name} ({_scope(result)})"
                # A fold in which a model failed has no baselines either.
                if name not in parts or len(rows) > len(parts[name]):
                    parts[name] = rows
        if all(parts[name]["net_return"].isna().all() for name in results):
            parts.pop(BUY_AND_HOLD)  # there is no money to compare with its
        sizes = [len(rows) for rows in parts.values()]
        rows = pd.concat([rows[_COLUMNS] for rows in parts.values()], ignore_index=True)
        codes = np.repeat(np.arange(len(parts)), sizes)
        rows.insert(0, "model", pd.Categorical.from_codes(codes, list(parts)))
        rows["symbol"] = pd.Categorical(rows["symbol"], about["symbols"])
        rows["y"] = rows["y"].where(rows["fold"] >= 0)
        regression = about["task"] == "regression"
        positions = tuple(
            name for name, result in results.items() if regression and predicts_position(result.manifest["model"])
        )
        loss = row_loss(about["task"], rows["y"], rows["prediction"])
        rows["loss"] = np.where(rows["model"].isin(positions), np.nan, loss)
        first = next(iter(parts.values()))
        bars = len(first) / len(first[["symbol", "session"]].drop_duplicates())
        horizon = max(1, round(about["horizon"] / bars))
        return cls(about["target"], about["task"], horizon, tuple(results), positions, rows)

    @property
    def baselines(self) -> list[str]:
        return [name for name in self.rows["model"].cat.categories if name not in self.models]

    @cached_property
    def sessions(self) -> pd.DataFrame:
        """``model, session, net_return, gross_return, turnover, exposure, loss`` of the equal-weight portfolios."""
        losses = by_session(self.rows, ("model",), mean=("loss",))["loss"]
        return portfolio(self.rows).assign(loss=losses)

    @cached_property
    def per_year(self) -> float:
        """Sessions in a year."""
        return sessions_per_year(np.unique(self.rows["session"].to_numpy("datetime64[D]")))

    def of_model(self, name: str) -> pd.DataFrame:
        """The rows of one name."""
        return self.rows[self.rows["model"] == name]

    def series(self, name: str, column: str) -> pd.Series:
        """A column of ``sessions`` by session, those without a value left out."""
        own = self.sessions[self.sessions["model"] == name]
        return own.set_index("session")[column].dropna()

    def paired(self, ours: str, theirs: str, column: str) -> tuple[np.ndarray, np.ndarray]:
        """``net_return`` or ``loss`` of two names per session, over the symbols and sessions that both have."""
        frames = [self.of_model(name).dropna(subset=column) for name in (ours, theirs)]
        keys = [pd.MultiIndex.from_frame(frame[["symbol", "session"]]) for frame in frames]
        if keys[0].equals(keys[1]):
            return self.series(ours, column).to_numpy(), self.series(theirs, column).to_numpy()
        kind = "total" if column == "net_return" else "mean"
        first, second = (
            by_session(frame[key.isin(other)], ("model",), **{kind: (column,)})[column].to_numpy(float)
            for frame, key, other in zip(frames, keys, reversed(keys), strict=True)
        )
        return first, second

    def block(self, n_sessions: int) -> int:
        """Mean length of a bootstrap's blocks."""
        return default_block(n_sessions, self.horizon)


def contests_of(results: Sequence[WalkForwardResults]) -> list[tuple[Contest, list[tuple[str, WalkForwardResults]]]]:
    """A contest per target, and its results by the names of their models.

    Where models of one target have the same name, their scope or a number follows it.

    Raises
    ------
    ConfigError
        There is no result.
    DataError
        Results of different panels, windows or costs, which cannot be compared.
    """
    if not results:
        raise ConfigError("report: there is no result; run a walk-forward first")
    _check_alike(results)
    targets: dict[str, list[WalkForwardResults]] = {}
    for result in results:
        targets.setdefault(result.manifest["target"], []).append(result)
    named = [list(zip(_names(group), group, strict=True)) for group in targets.values()]
    return [(Contest.of(dict(entries)), entries) for entries in named]


def _names(results: Sequence[WalkForwardResults]) -> list[str]:
    names: list[str] = []
    for result in results:
        name = result.manifest["model"] + (f" ({_scope(result)})" if _several_scopes(results) else "")
        same = sum(other.split(" #")[0] == name for other in names)
        names.append(f"{name} #{same + 1}" if same else name)
    return names


def _several_scopes(results: Iterable[WalkForwardResults]) -> bool:
    return len({_scope(result) for result in results}) > 1


def _scope(result: WalkForwardResults) -> str:
    return result.manifest["settings"]["scope"]


def _check_alike(results: Sequence[WalkForwardResults]) -> None:
    first = results[0].manifest
    for about in (result.manifest for result in results[1:]):
        unlike = [name for name in ("data", "backtest") if about[name] != first[name]]
        unlike += [name for name in _WINDOWS if about["settings"][name] != first["settings"][name]]
        if unlike:
            raise DataError(
                f"report: {first['model']} on {first['target']} and {about['model']} on {about['target']} differ in "
                f"{unlike[0]}; one report compares results of the same data, windows and costs, so report them apart"
            )
