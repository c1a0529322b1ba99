"""Walk-forward validation: everything is fitted again in each fold, on rows that were known before its test window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.config_loader import check_model_config, load_model_config, load_run_config
from CONFIG.errors import BarzooError, ConfigError, DataError, did_you_mean
from DATA_PROCESSING.columns import target_columns
from DATA_PROCESSING.labels import label_end_of
from DATA_PROCESSING.sessions import without_zone
from TRAINING.evaluation.folds import Fold, walk_forward_folds
from TRAINING.evaluation.metrics import SCORES
from TRAINING.model_fun.base import find_task
from TRAINING.model_fun.registry import predictor_class, predicts_position
from TRAINING.runs.threads import quick_switches
from TRAINING.walkforward.checkpoint import Checkpoint
from TRAINING.walkforward.fold import Outcome, Work, run_fold
from TRAINING.walkforward.panel import LabeledPanel
from TRAINING.walkforward.results import WalkForwardResults, check_metrics, collect
from TRAINING.walkforward.trading import Trading


class Interrupted(BarzooError):
    """The run was stopped before its last fold; what is finished is kept."""

    exit_code = 130

    def __init__(self) -> None:
        super().__init__("interrupted; run the same command again to go on")


class WalkForwardEngine:
    """Trains on past sessions and tests on the ones that follow, again and again through a panel.

    Parameters
    ----------
    data : DataFrame, str or Path
        Labeled rows of one symbol or of many, or a folder of labeled tables; see docs/07_WALK_FORWARD.md. Rows where a
        column ``in_universe`` is not true are neither trained on nor traded.
    train_days, test_days, step_days : int, optional
        In sessions; those of run_config/walkforward.yaml by default, as for all that follow.
    min_train_samples : int, optional
        Labelled rows that a training window needs, before purge and tail; folds with fewer are skipped and listed.
    mode : {"rolling", "expanding"}, optional
    scope : {"pooled", "symbol"}, optional
        One model over all symbols per fold, or one per symbol.
    embargo_sessions : int, optional
    calibration : {"none", "sigmoid", "isotonic"}, optional
        Of probabilities, fold by fold.
    intervals : float, optional
        Share of the labels that intervals around predicted values are to hold; 0 for none.
    split : dict, optional
        Keys of the run config ``split``: ``early_stopping``, and the weights of training rows.

    Attributes
    ----------
    folds : list of Fold

    Raises
    ------
    ConfigError
        A setting out of its range.
    DataError
        Data that cannot be used, or too few sessions for one fold.
    """

    def __init__(
        self,
        data: pd.DataFrame | str | Path,
        train_days: int | None = None,
        test_days: int | None = None,
        step_days: int | None = None,
        min_train_samples: int | None = None,
        mode: str | None = None,
        scope: str | None = None,
        embargo_sessions: int | None = None,
        calibration: str | None = None,
        intervals: float | None = None,
        split: dict | None = None,
    ):
        given = {
            "train_days": train_days,
            "test_days": test_days,
            "step_days": step_days,
            "min_train_samples": min_train_samples,
            "mode": mode,
            "scope": scope,
            "embargo_sessions": embargo_sessions,
            "calibration": calibration,
            "intervals": intervals,
        }
        given = {name: value for name, value in given.items() if value is not None}
        self.settings = load_run_config("walkforward", given)
        split = load_run_config("split", split)
        self.settings |= {name: split[name] for name in ("early_stopping", "weights", "half_life")}
        self.panel = LabeledPanel.of(data)
        days = (self.settings[name] for name in ("train_days", "test_days", "step_days"))
        self.folds = walk_forward_folds(
            self.panel.sessions,
            *days,
            mode=self.settings["mode"],
            embargo_sessions=self.settings["embargo_sessions"],
        )

    def run(
        self,
        model_name: str,
        config: dict | None = None,
        metrics: Sequence[str] | None = None,
        target: str | None = None,
        *,
        backtest: dict | None = None,
        folder: Path | None = None,
        jobs: int = 1,
        on_step: Callable[[str], None] = lambda text: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> WalkForwardResults:
        """Walk one model on one target through the panel.

        Parameters
        ----------
        model_name : str
            A model of the zoo.
        config : dict, optional
            As `CONFIG.config_loader.load_model_config` returns it; the model's default otherwise.
        metrics : sequence of str, optional
            Columns of ``results.metrics``; the task's scores and those of the run config by default.
        target : str, optional
        backtest : dict, optional
            Keys of the run config of this name.
        folder : Path, optional
            Where finished folds are kept, so that a run that was stopped goes on, and one of more sessions adds folds.
        jobs : int
            Folds at once.
        on_step : callable
            Told each fold that is ready.
        stopped : callable
            Once it says so, no further fold is begun, and `Interrupted` is raised.

        Raises
        ------
        ConfigError
            An unknown model, target or metric, or a fault in a configuration.
        DataError
            No fold can be trained; the message has the numbers needed and had.
        """
        predictor_class(model_name)
        config = load_model_config(model_name) if config is None else check_model_config(model_name, config)
        target, table = target or self.settings["target"], self.panel.table
        if target not in target_columns(table.columns):
            raise ConfigError(f"no target {target!r} in the table{did_you_mean(target, target_columns(table.columns))}")
        work = self._work(model_name, config, target)
        usual = [*SCORES[work.task], *self.settings["metrics"]]
        if work.task == "regression" and self.settings["intervals"] and not predicts_position(model_name):
            usual += ["coverage", "interval_score"]
        metrics = check_metrics(metrics or usual, work.task)
        ends = without_zone(table[label_end_of(target, table.columns)])
        horizon = self.panel.holding_bars(np.where(np.isnan(work.data.y), np.datetime64("NaT"), ends))
        if self.settings["train_days"] <= horizon:
            raise ConfigError(
                f"walk-forward: train_days must be above the horizon of {target}, {horizon} bars; "
                f"got {self.settings['train_days']}"
            )
        if self.folds[-1].test_start <= self.panel.fitted_until:
            raise DataError(
                f"walk-forward: the last of {len(self.folds)} test windows begins on {self.folds[-1].test_start}, in "
                f"the rows that latents were fitted on, until {self.panel.fitted_until}; shorten test_days, or make "
                "latents with a smaller share to train on"
            )
        kept = None if folder is None else Checkpoint(Path(folder), self.panel, work)
        outcomes = self._outcomes(work, kept, jobs, on_step, stopped)
        if stopped():
            raise Interrupted
        _check_some(outcomes, self.settings)
        trading = Trading(self.panel, work, target, horizon, load_run_config("backtest", backtest))
        return collect(trading, metrics, outcomes)

    def _work(self, model_name: str, config: dict, target: str) -> Work:
        data, panel = self.panel.dataset(target), self.panel
        y, ends = data.y.to_numpy(float), data.label_sessions
        known = ~np.isnat(ends) & ~np.isnan(y)
        # A label that ends on a day that is no session of the panel is known by the next one.
        label_session = np.where(known, np.searchsorted(panel.sessions, np.where(known, ends, panel.sessions[0])), -1)
        task = find_task(target, y, config["task"])
        symbol = panel.table["symbol"].cat.codes.to_numpy()
        return Work(data, panel.row_session, label_session, panel.in_universe, symbol, panel.sessions, self.settings,
                    model_name, config, task, panel.fitted_until)  # fmt: skip

    def _outcomes(
        self,
        work: Work,
        kept: Checkpoint | None,
        jobs: int,
        on_step: Callable[[str], None],
        stopped: Callable[[], bool],
    ) -> list[tuple[Fold, str, Outcome]]:
        from joblib import Parallel, delayed
        from threadpoolctl import threadpool_limits

        symbols = [None] if self.settings["scope"] == "pooled" else range(len(self.panel.symbols))

        def run(fold: Fold, symbol: int | None) -> tuple[Fold, str, Outcome]:
            name = "" if symbol is None else self.panel.symbols[symbol]
            outcome = kept and kept.find(fold, name)
            if outcome is None:
                outcome = run_fold(work, fold, symbol, kept and kept.training(fold, name))
                if kept and outcome.record["status"] == "done":
                    kept.keep(fold, name, outcome)
            return fold, name, outcome

        done = []
        # Threads serve: the zoo's models fit in native code, which runs without Python's lock.
        parallel = Parallel(jobs, backend="threading", return_as="generator_unordered", batch_size=1)
        calls = (delayed(run)(fold, symbol) for fold in self.folds for symbol in symbols if not stopped())
        with quick_switches(), threadpool_limits(1, "blas"):  # the baselines' matrices are small
            for fold, name, outcome in parallel(calls):
                done.append((fold, name, outcome))
                record = outcome.record
                told = " ".join(filter(None, [str(fold.test_start), name, record["status"], record["reason"]]))
                on_step(f"{work.model_name} {work.data.y.name} {told}")
        return sorted(done, key=lambda unit: (unit[0].number, unit[1]))


def _check_some(outcomes: list[tuple[Fold, str, Outcome]], settings: dict) -> None:
    """Refuse a walk-forward without one fold that was trained."""
    if any(outcome.record["status"] == "done" for _, _, outcome in outcomes):
        return
    most = max(outcome.record["window_rows"] for _, _, outcome in outcomes)
    reason = next((o.record["reason"] for _, _, o in outcomes if o.record["status"] == "failed"), "")
    if reason:
        raise DataError(f"walk-forward: none of {len(outcomes)} folds could be trained, the first: {reason}")
    raise DataError(
        f"walk-forward: none of {len(outcomes)} folds has min_train_samples ({settings['min_train_samples']}) labelled "
        f"rows in its training window of {settings['train_days']} sessions, the most is {most}; "
        "lengthen train_days, lower min_train_samples or give more symbols"
    )
