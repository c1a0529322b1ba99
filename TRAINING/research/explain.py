"""Which features move the predictions of a finished run's models, row by row: Shapley values."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError, IntegrityError, did_you_mean
from DATA_PROCESSING import labeled
from DATA_PROCESSING.dataset import Dataset, make_dataset
from TRAINING.artifacts import unpack
from TRAINING.phases.finished import FinishedRun, open_run
from TRAINING.phases.inputs import Inputs, open_inputs
from TRAINING.phases.plan import BASELINES
from TRAINING.research.shapley import permutation_values
from TRAINING.runs.manifest import read_sealed
from TRAINING.runs.store import RunFolder

NATIVE, PERMUTED = "exact, of the trees (TreeSHAP)", "sampled (permutations of the features)"


@runtime_checkable
class HasTrees(Protocol):
    """A trained model that knows its own Shapley values."""

    def shap_values(self, X: pd.DataFrame) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Explanation:
    """Shapley values of one model's predictions of test rows.

    Attributes
    ----------
    model, target, task : str
    method : str
        How the values were found.
    unit : str
        What they are in: ``log-odds``, ``probability`` or ``value``.
    context_rows : int
        Rows before a row that the model looks back at; a feature counts with its values in all of them.
    values, features : DataFrame
        (n, features) each, index (symbol, timestamp): the Shapley values, and what the features were in the row.
    base : Series
        (n,) what a prediction starts from, before anything is known of its row.
    """

    model: str
    target: str
    task: str
    method: str
    unit: str
    context_rows: int
    values: pd.DataFrame
    features: pd.DataFrame
    base: pd.Series

    @property
    def score(self) -> pd.Series:
        """(n,) the predictions, in ``unit``: what a row starts from and its values, added up."""
        return self.base + self.values.sum(axis=1)

    def strongest(self) -> pd.DataFrame:
        """A row per feature, the strongest first: ``feature, mean_abs, share, direction``.

        ``mean_abs`` is the mean size of its values, ``share`` that of all features' sum. ``direction`` is the rank
        correlation of value and feature (Spearman): above 0, more of the feature raises the prediction; NaN where
        either is constant.
        """
        size = self.values.abs().mean()
        total = size.sum()
        table = pd.DataFrame({"mean_abs": size, "share": size / total if total > 0 else np.nan})
        table["direction"] = [_rank_correlation(self.features[name], self.values[name]) for name in self.values]
        order = np.argsort(-table["mean_abs"].to_numpy(), kind="stable")
        return table.iloc[order].rename_axis("feature").reset_index()


def explain(
    folder: str | Path,
    *,
    model: str | None = None,
    target: str | None = None,
    symbol: str | None = None,
    rows: int = 200,
    on_step: Callable[[str], None] = lambda text: None,
) -> Explanation:
    """Explain the test predictions of a finished core or sequential run.

    Boosted trees give their values exactly (Lundberg et al. 2020, "From local explanations to global understanding with
    explainable AI for trees"), in log-odds for a binary target. Of any other model they are sampled, see
    `TRAINING.research.shapley`; of one that looks back, a feature is taken with its values in the whole window.

    Parameters
    ----------
    folder : path
        The run's.
    model, target : str, optional
        By default the first of the leaderboard.
    symbol : str, optional
        By default all that the model was trained on: each row is explained by its own symbol's model.
    rows : int
        Test rows in all, evenly spread over the test window of each symbol.
    on_step : callable
        Told each symbol that is done.

    Raises
    ------
    ConfigError
        No such run, unit or number of rows; a walk-forward, which keeps no models.
    DataError
        The run's source is gone.
    IntegrityError
        The run, or a table that it learnt from, has changed.
    """
    if rows < 1:
        raise ConfigError(f"--rows must be at least 1, got {rows}")
    run = open_run(Path(folder).resolve())
    if run.phase == "walkforward":
        raise ConfigError(f"{folder}: a walk-forward keeps no models; explain a core or sequential run")
    units = chosen_units(run, model, target, symbol)
    inputs = _open(run, sorted({unit[2] for unit in units}))
    parts, trainer = [], None
    for unit in units:
        record, files = read_sealed(run.units[unit])
        trainer = unpack(record, files, str(run.units[unit]))
        data = make_dataset(_table(run, inputs, unit[2]), unit[1], unit[2])
        parts.append(_explain_unit(trainer, data, record["windows"], max(1, rows // len(units))))
        on_step(f"{unit[0]} {unit[1]} {unit[2]}")
    values, features, base = (pd.concat(part) for part in zip(*parts, strict=True))
    native = isinstance(trainer, HasTrees)
    unit_name = "value" if trainer.task != "binary" else "log-odds" if native else "probability"
    method = NATIVE if native else PERMUTED
    return Explanation(
        trainer.name, trainer.target, trainer.task, method, unit_name, trainer.context_rows, values, features, base
    )


def chosen_units(
    run: FinishedRun, model: str | None = None, target: str | None = None, symbol: str | None = None
) -> list[tuple[str, str, str]]:
    """The units of one model and target, of one symbol or of all.

    Raises
    ------
    ConfigError
        The run has none of them.
    """
    units = [unit for unit in run.units if unit[0] != BASELINES]
    if not units:
        raise ConfigError(f"{run.folder}: holds no trained model; run the phase to its end first")
    for place, (option, wanted) in enumerate((("--model", model), ("--target", target), ("--symbol", symbol))):
        known = {unit[place] for unit in units}
        if wanted is not None and wanted not in known:
            raise ConfigError(f"{option}: {run.folder} has no {wanted!r}{did_you_mean(wanted, known)}")
        if wanted is not None:
            units = [unit for unit in units if unit[place] == wanted]
            if not units:
                raise ConfigError(f"{run.folder}: has no {wanted!r} beside the other options; leave one out")
    ranked = list(zip(run.leaderboard["model"], run.leaderboard["target"], strict=True))
    pairs = {unit[:2] for unit in units}
    best = next((pair for pair in ranked if pair in pairs), min(pairs))
    return sorted(unit for unit in units if unit[:2] == best)


def _open(run: FinishedRun, symbols: list[str]) -> Inputs:
    """The tables that the run learnt from: its own, or those of its source."""
    tables, origin = RunFolder(run.folder).tables, Path(run.manifest["folder"])
    if labeled.labeled_files(tables):
        return open_inputs(str(tables), symbols)
    with chdir(origin if origin.is_dir() else "."):
        source = Path(run.manifest["source"])
        if not source.exists():
            raise DataError(f"{run.folder}: its tables {source} are not in {Path.cwd()} any more; put them back there")
        return open_inputs(str(source.resolve()), symbols)


def _table(run: FinishedRun, inputs: Inputs, symbol: str) -> pd.DataFrame:
    if symbol not in inputs.symbols:
        raise DataError(f"{run.folder}: the table of {symbol} cannot be read; {inputs.problems.get(symbol, 'gone')}")
    if inputs.symbols[symbol].fingerprint != run.manifest["tables"][symbol]:
        raise IntegrityError(f"{run.folder}: the table of {symbol} is not the one that was learnt from; run it again")
    return inputs.table(symbol, None)


def _explain_unit(trainer, data: Dataset, windows: dict, count: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Shapley values and features of ``count`` test rows, and what each prediction starts from."""
    X, sessions = data.X[trainer.features], data.sessions
    train, test = (
        (sessions >= np.datetime64(first)) & (sessions <= np.datetime64(last))
        for first, last in (windows["train"], windows["test"])
    )
    test = np.flatnonzero(test & (np.arange(len(X)) >= trainer.context_rows))
    places = test[np.unique(np.linspace(0, len(test) - 1, min(count, len(test))).astype(int))]
    chosen = X.iloc[places]
    if isinstance(trainer, HasTrees):
        shares = trainer.shap_values(chosen)
    else:
        shares = permutation_values(trainer, X, places, X[train], trainer.config.get("seed", 0))
    values = pd.DataFrame(shares[:, :-1], chosen.index, chosen.columns)
    return values, chosen, pd.Series(shares[:, -1], chosen.index)


def _rank_correlation(a: pd.Series, b: pd.Series) -> float:
    known = a.notna().to_numpy()
    a, b = a[known].rank(), b[known].rank()
    if a.nunique() < 2 or b.nunique() < 2:
        return np.nan
    return float(np.corrcoef(a, b)[0, 1])
