"""The store of a tuning's trials, and what is tried next.

Trials come in rounds: what a round tries, and where its trials are pruned, depends on the rounds before it alone. So
any number of workers finds the same, and so does a study that was killed: the trials that were running keep their
number and are run again, for whoever holds the folder's lock knows that nobody else runs them.

The sampler is the tree-structured Parzen estimator (Bergstra et al., "Algorithms for Hyper-Parameter Optimization",
2011); a trial is pruned behind a fold where its mean loss is above the median of earlier trials' (Golovin et al.,
"Google Vizier", 2017).
"""

from __future__ import annotations

import json
import math
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from CONFIG.errors import ConfigError, IntegrityError
from CONFIG.search_space import Space
from TRAINING.search.objective import FoldResult, sharpe_of
from TRAINING.search.plan import TunePlan

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

STORE = "study.db"
ROUND = 8  # trials that are drawn at once; more would learn less from each other, fewer would leave cores idle
_ABOUT = "about"  # what the store keeps of a finished trial beside its value
_STARTUP = 9  # trials drawn at random before the sampler has seen enough: the first and one round


def optuna_module():
    """Optuna, quiet.

    Raises
    ------
    ConfigError
        It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigError('barzoo tune needs optuna; pip install "barzoo[tune]"') from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


@dataclass(frozen=True)
class TrialRecord:
    """One trial as it stands in the store.

    Attributes
    ----------
    number : int
        From 0, the configuration that the search began from.
    state : str
        ``complete``, ``pruned``, ``failed``, or ``waiting`` where it was cut off or has not begun.
    value : float
        Mean over its folds of the loss over the base rate's; NaN unless complete. Of a pruned one see ``losses``.
    losses : dict of int to float
        Mean after each fold.
    params : dict
    sharpe, sessions : float, int
        Of its net returns, per session.
    seconds : float
    reason : str
    """

    number: int
    state: str
    value: float
    losses: dict[int, float]
    params: dict[str, Any]
    sharpe: float
    sessions: int
    seconds: float
    reason: str


@dataclass(eq=False)
class TrialStore:
    """The trials of one plan in an SQLite file; made and read under the lock of the run's folder, by one process."""

    plan: TunePlan
    study: Study
    storage: BaseStorage
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, plan: TunePlan, folder: Path) -> TrialStore:
        """Open the folder's store, or make it.

        Raises
        ------
        ConfigError
            It is of a different study, or of another version of optuna.
        IntegrityError
            It is no store, or a damaged one.
        """
        optuna = optuna_module()
        from sqlalchemy.exc import SQLAlchemyError

        path = folder / STORE
        fresh = not path.exists()
        try:
            storage = optuna.storages.RDBStorage(
                f"sqlite:///{path.resolve()}", engine_kwargs={"connect_args": {"timeout": 60}}
            )
            names = storage.get_all_studies()
            if not fresh and [study.study_name for study in names] not in ([plan.identity], []):
                raise ConfigError(
                    f"{path}: holds the trials of a different study; choose another --output-dir, or --fresh to "
                    "replace them"
                )
            study = optuna.create_study(storage=storage, study_name=plan.identity, load_if_exists=True)
            study.get_trials(deepcopy=False)
        except RuntimeError as error:
            raise ConfigError(
                f"{path}: another version of optuna wrote it; install that one, or give --fresh to start over"
            ) from error
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            told = str(error).splitlines()[0]
            raise IntegrityError(f"{path}: not a whole store of trials ({told}); give --fresh to start over") from error
        return cls(plan, study, storage)

    def trials(self) -> list[TrialRecord]:
        """All trials, by number."""
        return [_record(trial) for trial in self.study.get_trials(deepcopy=False)]

    def rounds(self, trials: int) -> Iterator[tuple[list[TrialRecord], Snapshot]]:
        """Each round of the first ``trials`` trials: those that are still to be run, and what they are pruned against.

        A round is drawn when the one before it is finished; what a killed process drew is kept.
        """
        start, size = 0, 1  # the configuration that the search began from is a round of its own
        while start < trials:
            earlier = [trial for trial in self.study.get_trials(deepcopy=False) if trial.number < start]
            snapshot = Snapshot(self.plan, earlier)
            self._draw(snapshot, start, size)
            whole = [record for record in self.trials() if start <= record.number < min(start + size, trials)]
            yield [record for record in whole if record.state == "waiting"], snapshot
            start, size = start + size, ROUND

    def _draw(self, snapshot: Snapshot, start: int, size: int) -> None:
        """Add the trials of a round that are not there."""
        from optuna.trial import TrialState, create_trial

        there = len(self.study.get_trials(deepcopy=False))
        if there >= start + size:
            return
        for number, params in enumerate(snapshot.draw(start, size), start=start):
            if number >= there:
                spaces = snapshot.distributions if params else {}
                self.study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=spaces))

    def tell_fold(self, number: int, fold: int, mean: float) -> None:
        """Write down the mean loss up to a fold."""
        with self._guard:
            self.storage.set_trial_intermediate_value(self._id(number), fold, mean)

    def tell(self, number: int, state: str, results: list[FoldResult], seconds: float, reason: str = "") -> None:
        """Finish a trial: ``complete``, ``pruned`` or ``failed``."""
        from optuna.trial import TrialState

        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        sharpe, sessions = sharpe_of(results) if state == "complete" else (float("nan"), 0)
        about = {"sharpe": sharpe if math.isfinite(sharpe) else None, "sessions": sessions}
        about |= {"seconds": round(seconds, 3), "reason": reason}
        value = sum(result.loss for result in results) / len(results) if results else None
        with self._guard:
            self.storage.set_trial_user_attr(self._id(number), _ABOUT, about)
            self.study.tell(number, value if state == "complete" else None, state=states[state])

    def _id(self, number: int) -> int:
        study = self.storage.get_study_id_from_name(self.study.study_name)
        return self.storage.get_trial_id_from_study_id_trial_number(study, number)


class Snapshot:
    """The trials before a round, from which its own are drawn and against which they are pruned."""

    def __init__(self, plan: TunePlan, earlier: list[FrozenTrial]) -> None:
        optuna = optuna_module()
        self.plan = plan
        self.distributions = {key: _distribution(space) for key, space in plan.space.items()}
        self.study = optuna.create_study()
        self.study.add_trials(trial for trial in earlier if trial.state.is_finished())
        # The first median is of the first round's trials; the first fold alone says too little.
        self.pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)

    def draw(self, start: int, size: int) -> list[dict[str, Any]]:
        """The parameters of the trials ``start`` up to ``start + size``; those of trial 0 are no change."""
        optuna = optuna_module()
        if start == 0:
            return [{}]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # A round's trials know of each other while none has a value, so that they spread out.
            sampler = optuna.samplers.TPESampler(
                seed=self.plan.seed * 1_000_003 + start, n_startup_trials=_STARTUP, constant_liar=True
            )
        self.study.sampler = sampler
        return [self.study.ask(self.distributions).params for _ in range(size)]

    def is_hopeless(self, means: list[float]) -> bool:
        """Whether a trial with these mean losses, fold by fold, is worse than half of those before its round."""
        import optuna

        trial = optuna.trial.FrozenTrial(
            number=len(self.study.trials), state=optuna.trial.TrialState.RUNNING, value=None,
            datetime_start=pd.Timestamp(0).to_pydatetime(), datetime_complete=None, params={}, distributions={},
            user_attrs={}, system_attrs={}, intermediate_values={len(means) - 1: means[-1]}, trial_id=-1,
        )  # fmt: skip
        return self.pruner.prune(self.study, trial)


def config_of(plan: TunePlan, params: dict[str, Any]) -> dict[str, Any]:
    """The model's configuration with a trial's values."""
    return {**plan.base, **params}


def _distribution(space: Space) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if space.choices:  # as text, since a choice may be a list
        return CategoricalDistribution([json.dumps(choice) for choice in space.choices])
    kind = IntDistribution if isinstance(space.low, int) else FloatDistribution
    return kind(space.low, space.high, log=space.log)


def _record(trial: FrozenTrial) -> TrialRecord:
    from optuna.distributions import CategoricalDistribution

    about = trial.user_attrs.get(_ABOUT, {})
    params = {
        key: json.loads(value) if isinstance(trial.distributions[key], CategoricalDistribution) else value
        for key, value in trial.params.items()
    }
    state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(trial.state.name, "waiting")
    sharpe = about.get("sharpe")
    return TrialRecord(
        trial.number,
        state,
        trial.value if state == "complete" else float("nan"),
        dict(sorted(trial.intermediate_values.items())),
        params,
        float("nan") if sharpe is None else sharpe,
        about.get("sessions", 0),
        about.get("seconds", float("nan")),
        about.get("reason", ""),
    )


def importances(store: TrialStore) -> pd.DataFrame:
    """Columns ``feature`` (the key) and ``importance``, by fANOVA (Hutter et al. 2014); empty below 4 whole trials."""
    optuna = optuna_module()
    whole = [
        trial for trial in store.study.get_trials(deepcopy=False) if trial.state.name == "COMPLETE" and trial.params
    ]
    if len(whole) < 4 or len({trial.value for trial in whole}) < 2:
        return pd.DataFrame({"feature": [], "importance": []})
    study = optuna.create_study()
    study.add_trials(whole)
    found = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    return pd.DataFrame({"feature": list(found), "importance": list(found.values())})
