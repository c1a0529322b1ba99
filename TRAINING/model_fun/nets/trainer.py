"""What trainers of nets share: one net, or the nets of many symbols in one program."""

from __future__ import annotations

from collections.abc import Sequence

from CONFIG.errors import BarzooError
from DATA_PROCESSING.dataset import Dataset
from TRAINING.model_fun.base import Trainer
from TRAINING.model_fun.nets.estimators import TableNet, fit_together


class NetTrainer(Trainer):
    """A trainer whose estimator is a `TableNet`."""

    symbols_per_batch = 32
    _waits = False  # whether its net is to train together with others

    def fit_many(self, datasets: Sequence[tuple[Dataset, Dataset | None]]) -> list[Trainer | BarzooError]:
        """As `Trainer.fit_many`, in one program, see `TRAINING.neural.fit_many`."""
        outcomes: list[Trainer | BarzooError] = []
        for train, validation in datasets:
            later = (None, None) if validation is None else (validation.X, validation.y)
            trainer = type(self)(self.config)
            trainer._waits = True
            try:
                outcomes.append(trainer.train(train.X, train.y, *later, rows=train.rows))
            except BarzooError as error:
                outcomes.append(error)
        ready = [outcome for outcome in outcomes if isinstance(outcome, NetTrainer)]
        fit_together([trainer._estimator for trainer in ready])
        for trainer in ready:
            trainer._take()
        return outcomes

    def _train(self, estimator: TableNet, X, y, X_val, y_val, sample_weight) -> None:
        """Fit an estimator, or leave that to `fit_many`."""
        if self.lean and not self.config["early_stopping_rounds"]:
            X_val = y_val = None
        estimator.waits, estimator.folder = self._waits, self.folder
        self._estimator = estimator.fit(X, y, sample_weight, X_val, y_val)
        if not self._waits:
            self._take()

    def _take(self) -> None:
        """Take the net and its curves from the estimator."""
        estimator = self._estimator
        self._net, self._shape, self.rounds = estimator.net_, estimator.shape_, estimator.result_.epochs
        self.notes += estimator.result_.notes
        self.history = {part: {"loss": losses} for part, losses in estimator.result_.history.items()}
