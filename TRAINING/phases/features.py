"""The features phase: latents, fitted on training rows only, appended to the labeled tables."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import BarzooError, ConfigError, DataError
from DATA_PROCESSING import labeled
from DATA_PROCESSING.dataset import make_dataset
from DATA_PROCESSING.labeled.extend import check_without_latents, write_extended
from DATA_PROCESSING.sessions import row_sessions
from TRAINING import __version__
from TRAINING.artifacts import pack, unpack
from TRAINING.evaluation.splits import purged_tail, split_dates
from TRAINING.model_fun.feature_trainer import FeatureTrainer
from TRAINING.model_fun.registry import trainer_class
from TRAINING.phases.inputs import Inputs
from TRAINING.phases.plan import Request, resolve_models
from TRAINING.phases.run import Progress, check_apart, check_same_plan, full_disk_is_said, logged, write_papers
from TRAINING.runs.lock import locked
from TRAINING.runs.manifest import digest, environment
from TRAINING.runs.store import RunFolder, training_folder, write_sealed


@dataclass(frozen=True, eq=False)
class FeaturesPlan:
    """Everything a features run will do.

    Attributes
    ----------
    inputs : Inputs
    models : dict of str to dict
        The one model and its resolved configuration.
    settings : dict of str to dict
        The run config ``split``, and those behind the tables.
    cut : datetime64[D]
        The first session after the training window of the core split: only rows before it are learnt.
    """

    inputs: Inputs
    models: dict[str, dict]
    settings: dict[str, dict]
    cut: np.datetime64
    targets: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        return next(iter(self.models))

    @property
    def features(self) -> list[str]:
        """What the latents are made of."""
        return next(iter(self.inputs.symbols.values())).features

    @property
    def fit_range(self) -> tuple[str, str]:
        """The first and the last session that latents are fitted on."""
        sessions = self.inputs.sessions
        return str(sessions[0]), str(sessions[np.searchsorted(sessions, self.cut) - 1])

    @property
    def latents(self) -> list[str]:
        """The columns that are appended."""
        return [f"latent_{number}" for number in range(self.models[self.model]["latent_dim"])]

    @cached_property
    def identity(self) -> str:
        """Hash of everything that the latents depend on."""
        return digest(
            {
                "models": self.models,
                "features": self.features,
                "tables": {symbol: about.fingerprint for symbol, about in sorted(self.inputs.symbols.items())},
                "cut": str(self.cut),
                "early_stopping": self.settings["split"]["early_stopping"],
                "packages": environment()["packages"],
                "version": __version__,
            }
        )

    @property
    def run_id(self) -> str:
        """The folder's default name."""
        return f"features-{self.identity[:10]}"

    @property
    def made(self) -> dict:
        """What each table says of its latents."""
        first, last = self.fit_range
        made_by = {"model": self.model, "config": self.models[self.model], "plan": self.identity}
        return made_by | {"features": self.features, "fit_first": first, "fit_last": last}


@dataclass(frozen=True, eq=False)
class FeaturesOutcome:
    """What a features run left behind.

    Attributes
    ----------
    folder : Path
        Holds a labeled table per symbol, so it serves as input of the next phases, and the model.
    tables : DataFrame
        ``symbol, status, reason, rows, fit_rows``; status is ``done``, ``failed`` or ``interrupted``.
    about : dict
        The fit: ``rounds``, ``notes``, ``quality``, and how many rows it saw.
    interrupted : bool
    """

    folder: Path
    tables: pd.DataFrame
    about: dict
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0, 6 when some tables failed, 130 when it was interrupted."""
        return 130 if self.interrupted else 6 if (self.tables["status"] == "failed").any() else 0


def make_features_plan(request: Request, inputs: Inputs) -> FeaturesPlan:
    """Plan latents for the tables of ``inputs``, of all symbols by one model, so that they mean the same for each.

    Raises
    ------
    ConfigError
        More than one model or one that predicts, or tables of different features.
    DataError
        Tables that have latents already, or too few sessions to split.
    """
    models = resolve_models(request)
    if len(models) > 1:
        raise ConfigError(
            f"--phase features makes latents with one model; got {', '.join(models)}; name one in --models"
        )
    split = load_run_config("split", files=request.files)
    cut, _ = split_dates(inputs.sessions, split["train"], split["validation"])
    first = next(iter(inputs.symbols.values()))
    for symbol, about in inputs.symbols.items():
        check_without_latents(about.columns, f"{inputs.source}: the table of {symbol!r}")
        unlike = sorted(set(about.features) ^ set(first.features))
        if unlike:
            raise ConfigError(
                f"{inputs.source}: the tables of {first.symbol!r} and {symbol!r} differ in the feature {unlike[0]!r}; "
                "build them alike, or use --symbols"
            )
    if not first.features or not first.targets:
        raise DataError(
            f"{inputs.source}: the tables have {len(first.features)} features and {len(first.targets)} targets"
        )
    return FeaturesPlan(inputs, models, {"split": split} | inputs.settings, cut)


def run_features(
    plan: FeaturesPlan,
    folder: Path,
    *,
    jobs: int,
    progress: Progress,
    fresh: bool = False,
    stop: threading.Event | None = None,
) -> FeaturesOutcome:
    """Fit the model and write every table with its latents; what is there already is kept, so running again resumes.

    Parameters
    ----------
    plan : FeaturesPlan
    folder : Path
        Made if it is not there.
    jobs : int
        Tables at once.
    progress : Progress
    fresh : bool
        Forget what the folder holds.
    stop : Event, optional
        Once set, running tables are finished and no other is begun.

    Raises
    ------
    ConfigError
        The folder cannot be written, is full, or holds the input or another plan's results.
    DataError
        Too few rows to learn.
    LockedError
        Another run is using the folder.
    """
    store, stop = RunFolder(folder), stop or threading.Event()
    store.create()
    check_apart(folder, plan)
    with locked(folder), full_disk_is_said(folder):
        if fresh:
            _clear(store)
        check_same_plan(store, plan)
        with logged(folder / "log.txt"):
            first, last = plan.fit_range
            fit = {"first": first, "last": last, "latents": plan.latents}
            write_papers(store, plan, "features", {"fit": fit, "settings": plan.inputs.settings})
            with progress.stage("fit", 1) as step:
                trainer, about = _fitted(plan, store)
                step(plan.model)
            rows = _tables(plan, trainer, store, jobs, progress, stop)
            rows += [(symbol, "failed", problem, 0, 0) for symbol, problem in plan.inputs.problems.items()]
            tables = pd.DataFrame(sorted(rows), columns=["symbol", "status", "reason", "rows", "fit_rows"])
            store.write("units.csv", tables.to_csv(index=False, lineterminator="\n"))
    return FeaturesOutcome(folder, tables, about, (tables["status"] == "interrupted").any())


def _clear(store: RunFolder) -> None:
    """Forget a run; tables that somebody else put there stay."""
    store.clear()
    for path in store.path.glob("*.parquet"):
        try:
            if labeled.read_info(path, 1).latents:
                path.unlink()
        except BarzooError:
            continue


def _fitted(plan: FeaturesPlan, store: RunFolder) -> tuple[FeatureTrainer, dict]:
    """The trained model and what is known of its fit: from the folder, if it is there and whole."""
    folder = store.path / "model"
    found = store.finished_unit(folder, plan.identity)
    if found is not None:
        return unpack(*found, str(folder)), found[0]["fit"]
    head, tail = _training_rows(plan)
    trainer = trainer_class(plan.model)(plan.models[plan.model])
    trainer.folder = training_folder(folder, plan.identity)
    trainer.train(head, None, tail)
    about = {
        "rows": len(head),
        "held_out_rows": len(tail),
        "rounds": trainer.rounds,
        "notes": trainer.notes,
        "quality": trainer.quality(tail),
    }
    description, files = pack(trainer)
    write_sealed(folder, {**description, "identity": plan.identity, "fit": about, "environment": environment()}, files)
    return trainer, about


def _training_rows(plan: FeaturesPlan) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Features of the rows to learn, and of the purged tail of the training window to stop on."""
    parts = []
    for symbol, about in sorted(plan.inputs.symbols.items()):
        table = plan.inputs.table(symbol, None)
        before = row_sessions(table) < plan.cut
        if before.any():
            parts.append(make_dataset(table[before], about.targets[0], symbol))
    X = pd.concat([part.X[plan.features] for part in parts])
    sessions = np.concatenate([part.sessions for part in parts])
    ends = np.concatenate([part.label_sessions for part in parts])
    head, tail = purged_tail(sessions, ends, plan.settings["split"]["early_stopping"])
    return X[head], X[tail]


def _tables(
    plan: FeaturesPlan, trainer: FeatureTrainer, store: RunFolder, jobs: int, progress: Progress, stop: threading.Event
) -> list[tuple]:
    """A row of `FeaturesOutcome.tables` per symbol; a table that is there and whole is left alone."""
    from joblib import Parallel, delayed

    rows = []

    def make(symbol: str) -> tuple:
        if stop.is_set():
            return symbol, "interrupted", "run again to go on", 0, 0
        try:
            return symbol, "done", "", *_extend(plan, trainer, store.path, symbol)
        except BarzooError as error:
            return symbol, "failed", str(error), 0, 0

    symbols = sorted(plan.inputs.symbols)
    parallel = Parallel(jobs, backend="threading", return_as="generator_unordered", batch_size=1)
    with progress.stage("extend", len(symbols)) as step:
        for row in parallel(delayed(make)(symbol) for symbol in symbols):
            step(f"{row[0]}: {row[1]} {row[2]}".strip())
            rows.append(row)
    return rows


def _extend(plan: FeaturesPlan, trainer: FeatureTrainer, folder: Path, symbol: str) -> tuple[int, int]:
    """Write one symbol's table, and tell its rows and those in the fit."""
    about = plan.inputs.symbols[symbol]
    in_fit = about.sessions < plan.cut
    path, fingerprint = labeled.table_path(folder, symbol), digest([plan.identity, about.fingerprint])
    if not _is_there(path, fingerprint):
        table = plan.inputs.table(symbol, None)
        latents = trainer.transform(table[plan.features])
        told = {"symbol": symbol, "fingerprint": fingerprint, "settings": plan.inputs.settings, "latents": plan.made}
        write_extended(path, table, latents, in_fit, told)
    return len(in_fit), int(in_fit.sum())


def _is_there(path: Path, fingerprint: str) -> bool:
    try:
        return path.exists() and labeled.read_info(path, 1).fingerprint == fingerprint
    except BarzooError:
        return False  # damaged: it is made again
