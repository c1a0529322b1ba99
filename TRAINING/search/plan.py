"""The plan of a tuning: which keys of which model, on which folds; the newest sessions are never looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from CONFIG.config_loader import load_run_config, load_search_space, user_model_file
from CONFIG.errors import ConfigError, DataError
from CONFIG.search_space import Space
from DATA_PROCESSING.labels import label_end_of
from DATA_PROCESSING.sessions import without_zone
from TRAINING import __version__
from TRAINING.evaluation.splits import split_dates
from TRAINING.model_fun.registry import predicts_position
from TRAINING.phases.inputs import Inputs
from TRAINING.phases.plan import Request, chosen_features, named_targets, resolve_models
from TRAINING.runs.manifest import digest, environment
from TRAINING.walkforward import WalkForwardEngine
from TRAINING.walkforward.panel import LabeledPanel, join_symbols


@dataclass(frozen=True, eq=False)
class TunePlan:
    """Everything that a trial's value depends on, but for the rows.

    Attributes
    ----------
    inputs : Inputs
    model, target : str
    base : dict
        The model's configuration, of which trials change the keys of ``space``; it is itself the first trial.
    space : dict of str to Space
    folds : int
        Test windows, of equal length, over the second half of the development part.
    settings : dict of str to dict
        The run configs ``walkforward``, ``split`` and ``backtest``, and those behind the tables.
    seed : int
        Of the sampler.
    """

    inputs: Inputs
    model: str
    target: str
    base: dict
    space: dict[str, Space]
    folds: int
    settings: dict[str, dict]
    seed: int

    @cached_property
    def identity(self) -> str:
        """Hash of all that values depend on; more trials of the same plan are the same study."""
        return digest(
            {
                "model": self.model,
                "target": self.target,
                "base": self.base,
                "space": {key: [space.low, space.high, space.log, space.choices] for key, space in self.space.items()},
                "folds": self.folds,
                "settings": self.settings,
                "seed": self.seed,
                "tables": {symbol: about.fingerprint for symbol, about in sorted(self.inputs.symbols.items())},
                "packages": environment()["packages"],
                "version": __version__,
            }
        )

    @property
    def run_id(self) -> str:
        """The run folder's default name."""
        return f"tune-{self.identity[:10]}"

    @property
    def models(self) -> dict[str, dict]:
        """The model and its configuration, as other runs name theirs."""
        return {self.model: self.base}

    @property
    def targets(self) -> list[str]:
        return [self.target]

    @property
    def rival(self) -> str:
        """Whose loss a trial's is divided by."""
        return "cash" if predicts_position(self.model) else "the base rate"

    @cached_property
    def test_start(self) -> np.datetime64:
        """The first session of the phases' test window, which no trial sees."""
        split = self.settings["split"]
        return split_dates(self.inputs.sessions, split["train"], split["validation"])[1]


def make_tune_plan(
    request: Request, inputs: Inputs, *, folds: int, seed: int = 0, overrides: Mapping[str, object] | None = None
) -> TunePlan:
    """Plan a tuning of the one model and target of a request.

    Parameters
    ----------
    request : Request
        Its phase is ``walkforward``; the model's configuration is that of its variant.
    inputs : Inputs
    folds : int
    seed : int
    overrides : mapping, optional
        Keys of the run config ``walkforward``, such as ``scope``.

    Raises
    ------
    ConfigError
        An unknown model, target, feature or setting, or a model without a search space.
    """
    (model, base), *more = resolve_models(request).items()
    if more:
        raise ConfigError(f"--model: one model at a time; got {', '.join(request.models)}")
    inputs = chosen_features(request, inputs)
    space = load_search_space(model, request.files)
    if not space:
        raise ConfigError(
            f"{model} has no search space; give one in {user_model_file(model)}, such as "
            "search: {learning_rate: {low: 0.01, high: 0.1}}"
        )
    settings = {
        "walkforward": load_run_config("walkforward", overrides, request.files),
        "split": load_run_config("split", files=request.files),
        "backtest": load_run_config("backtest", files=request.files),
    }
    # Neither changes a loss; both take time.
    settings["walkforward"] |= {"calibration": "none", "intervals": 0.0}
    (target,) = named_targets([request.target], inputs)
    return TunePlan(inputs, model, target, base, space, folds, settings | inputs.settings, seed)


def engine_of(plan: TunePlan, folder: Path | None) -> WalkForwardEngine:
    """The folds of a plan over the development part: the sessions before the phases' test window.

    The first half of it is the first training window, the rest is cut into test windows of equal length. A label that
    becomes known in the test window or later is taken away, so nothing of it reaches a trial.

    Raises
    ------
    DataError
        Too few sessions.
    """
    tables = {symbol: plan.inputs.table(symbol, folder) for symbol in sorted(plan.inputs.symbols)}
    panel = LabeledPanel.of(join_symbols(tables))
    sessions = panel.sessions[panel.sessions < plan.test_start]
    table = panel.table[panel.sessions[panel.row_session] < plan.test_start].reset_index(drop=True)
    ends = without_zone(table[label_end_of(plan.target, table.columns)])
    known = ends.astype("datetime64[D]") < plan.test_start  # false without a label
    table[plan.target] = table[plan.target].where(known)
    first = len(sessions) // 2
    each = (len(sessions) - first) // plan.folds
    if each < 1:
        raise DataError(
            f"tune: {len(sessions)} sessions before {plan.test_start} give no {plan.folds} test windows; "
            "lower --folds or give more data"
        )
    walk = plan.settings["walkforward"]
    names = ("min_train_samples", "mode", "scope", "embargo_sessions", "calibration", "intervals")
    return WalkForwardEngine(
        table,
        train_days=len(sessions) - each * plan.folds,
        test_days=each,
        step_days=each,
        **{name: walk[name] for name in names},
        split=plan.settings["split"],
    )
