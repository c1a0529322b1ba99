"""The plan of a phase: which units, on which rows, each with an identity that says when its result still holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from CONFIG.config_loader import config_file_target, load_run_config, model_names, resolve_model_config
from CONFIG.errors import ConfigError, did_you_mean
from DATA_PROCESSING.labels import horizon_of, label_end_of, label_of
from TRAINING import __version__
from TRAINING.evaluation.metrics import PREDICTION_METRICS
from TRAINING.evaluation.splits import split_dates
from TRAINING.model_fun.registry import MODELS, predictor_class, trainer_class
from TRAINING.phases.inputs import Inputs, SymbolInput
from TRAINING.runs.manifest import digest, environment

PHASES = ("features", "core", "sequential", "walkforward")
ALL = "all"  # the models of the zoo, where a request names models
CHOSEN = "chosen"  # among a run's settings, the features that its models see
BASELINES = "baselines"  # the model name of the units that hold a symbol's baselines


@dataclass(frozen=True)
class Request:
    """What the user asked for, as given.

    Attributes
    ----------
    phase : str
    source : str, optional
    models, symbols : list of str, optional
        ``["all"]`` is every model of the zoo.
    target, variant : str, optional
    files : tuple of Path
        Configs given with ``--config``.
    seed : int, optional
    latent_dim : int, optional
        Latents, of the phase ``features``.
    fast_dev_run : bool
        The first symbol that can be trained only, one epoch or tree of each model: does it run at all?
    features : list of str, optional
        The features that models and baselines see; all by default.
    """

    phase: str = "core"
    source: str | None = None
    models: list[str] | None = None
    symbols: list[str] | None = None
    target: str | None = None
    variant: str | None = None
    files: tuple[Path, ...] = ()
    seed: int | None = None
    latent_dim: int | None = None
    fast_dev_run: bool = False
    features: list[str] | None = None


@dataclass(frozen=True)
class Unit:
    """One (model, target, symbol).

    Attributes
    ----------
    identity : str
        Hash of everything its result depends on; a finished unit of the same identity is not trained again.
    rows : tuple of int
        Bars in the training, validation and test window.
    skip : str
        Why it is not trained; empty for one that is.
    """

    model: str
    target: str
    symbol: str
    identity: str
    rows: tuple[int, int, int]
    skip: str = ""


@dataclass(frozen=True)
class Plan:
    """Everything a run will do.

    Attributes
    ----------
    models : dict of str to dict
        Resolved configuration per model.
    settings : dict of str to dict
        The run configs ``split``, ``backtest`` and ``phases``, and those that bars are labeled with.
    targets : list of str
    validation_start, test_start : datetime64[D]
        The panel's cut dates.
    units : list of Unit
        By symbol, target, model; the baselines of a (symbol, target) before its models.
    """

    phase: str
    inputs: Inputs
    models: dict[str, dict]
    settings: dict[str, dict]
    targets: list[str]
    validation_start: np.datetime64
    test_start: np.datetime64
    units: list[Unit]

    @property
    def identity(self) -> str:
        """Hash of all units."""
        return digest([unit.identity for unit in self.units])

    @property
    def run_id(self) -> str:
        """The run folder's default name."""
        return f"{self.phase}-{self.identity[:10]}"

    @property
    def todo(self) -> list[Unit]:
        """The units that are not skipped."""
        return [unit for unit in self.units if not unit.skip]

    @property
    def windows(self) -> dict[str, tuple[str, str]]:
        """First and last session of the training, validation and test window."""
        sessions = self.inputs.sessions
        cuts = [0, *np.searchsorted(sessions, [self.validation_start, self.test_start]), len(sessions)]
        names = ("train", "validation", "test")
        return {
            name: (str(sessions[start]), str(sessions[end - 1]))
            for name, start, end in zip(names, cuts[:-1], cuts[1:], strict=True)
        }

    def batches(self) -> Iterator[list[Unit]]:
        """Units that train together: of one model and target (or targets), as many symbols as it likes at once."""
        groups: dict[tuple[str, str], list[Unit]] = {}
        last = {(_company(unit), unit.symbol): unit for unit in self.todo}
        for unit in self.todo:
            company = _company(unit)
            size = 1 if unit.model == BASELINES else predictor_class(unit.model).symbols_per_batch
            group = groups.setdefault(company, [])
            group.append(unit)
            if unit is last[company, unit.symbol] and len({one.symbol for one in group}) == size:
                yield groups.pop(company)
        yield from groups.values()


def learns_together(model: str) -> bool:
    """Whether one model is trained for all targets of a symbol."""
    return model != BASELINES and predictor_class(model).many_targets


def _company(unit: Unit) -> tuple[str, str]:
    """Model and target, the target left out where the model learns several together."""
    return unit.model, "" if learns_together(unit.model) else unit.target


def check_phase(phase: str) -> None:
    """Refuse a phase that is not there."""
    if phase not in PHASES:
        raise ConfigError(f"no phase {phase!r}{did_you_mean(phase, PHASES)}")


def resolve_models(request: Request) -> dict[str, dict]:
    """The configuration of each model of a request.

    Without ``models``, those named by the ``--config`` files, else the phase's.

    Raises
    ------
    ConfigError
        An unknown phase, model or variant, or a fault in a configuration.
    """
    check_phase(request.phase)
    _check_options(request)
    named = [name for name in map(config_file_target, request.files) if name in model_names()]
    settings = load_run_config("phases", files=request.files)
    models = request.models or named or settings[f"{request.phase}_models"]
    models = list(MODELS) if models == [ALL] else models
    if ALL in models:
        raise ConfigError(f"models: {ALL} means every model and stands alone; got {', '.join(models)}")
    for model in models:
        if model not in MODELS:
            near = did_you_mean(model, MODELS)
            raise ConfigError(f"no model {model!r}{near} (there are: {', '.join(sorted(MODELS))})")
        _check_kind(model, request.phase)
    for name in named:
        if name not in models:
            raise ConfigError(
                f"--config names {name}, which is not among the models {', '.join(models)}; add it to --models"
            )
    given = {"seed": request.seed, "latent_dim": request.latent_dim}
    overrides = {name: value for name, value in given.items() if value is not None}
    many = len(models) > 1
    configs = {}
    for model in dict.fromkeys(models):
        config = resolve_model_config(model, request.variant, {}, request.files, many=many).values
        own = {name: value for name, value in overrides.items() if name in config}  # not every model draws
        if own:
            config = resolve_model_config(model, request.variant, own, request.files, many=many).values
        configs[model] = config
    if request.fast_dev_run:
        shortest = dict.fromkeys(("epochs", "iterations", "n_estimators", "passes"), 1)
        configs = {model: {key: shortest.get(key, value) for key, value in configs[model].items()} for model in configs}
    return configs


def _check_options(request: Request) -> None:
    if request.phase == "features" and request.target is not None:
        raise ConfigError(f"--phase features learns without a target; got --target {request.target}, leave it out")
    if request.phase != "features" and request.latent_dim is not None:
        raise ConfigError(f"--latent-dim is of --phase features; got --phase {request.phase}")
    if request.phase == "features" and request.features is not None:
        raise ConfigError("--features-file is of the phases that predict; --phase features learns all features")
    if request.fast_dev_run and request.phase not in ("core", "sequential"):
        raise ConfigError(f"--fast-dev-run is of --phase core and sequential; got --phase {request.phase}")


def _check_kind(model: str, phase: str) -> None:
    """A phase takes models that predict, or such as make features."""
    if phase != "features":
        predictor_class(model)
    elif not trainer_class(model).makes_features:
        raise ConfigError(f"{model} predicts and makes no features; --phase features takes one that does, such as vae")


def make_plan(request: Request, inputs: Inputs) -> Plan:
    """Plan a phase over the symbols of ``inputs``.

    Raises
    ------
    ConfigError
        An unknown phase, model, variant or target.
    DataError
        Too few sessions to split.
    """
    models = resolve_models(request)
    inputs = chosen_features(request, inputs)
    settings = {topic: load_run_config(topic, files=request.files) for topic in ("split", "backtest", "phases")}
    if settings["backtest"]["rule"] == "rank":
        raise ConfigError(
            f"backtest.yaml: rule: rank compares symbols, and --phase {request.phase} trades each by itself; "
            "use barzoo walkforward, or rule: label"
        )
    split = settings["split"]
    validation_start, test_start = split_dates(inputs.sessions, split["train"], split["validation"])
    _check_fitted(inputs, test_start)
    settings |= inputs.settings
    horizons = {about.horizon: symbol for symbol, about in inputs.symbols.items()}
    if len(horizons) > 1:
        shown = ", ".join(f"{symbol} {horizon}" for horizon, symbol in sorted(horizons.items(), key=str))
        raise ConfigError(
            f"{inputs.source}: tables of different horizons ({shown}); build them alike, or use --symbols"
        )
    targets = [request.target] if request.target else settings["phases"][f"{request.phase}_targets"]
    targets = named_targets(targets, inputs)
    _check_ranking(settings["phases"]["rank_by"], targets)
    looks_back = {model: predictor_class(model)(config).context_rows for model, config in models.items()}
    units = []
    for symbol, about in sorted(inputs.symbols.items()):
        before = np.searchsorted(np.sort(about.sessions), [validation_start, test_start])
        rows = (int(before[0]), int(before[1] - before[0]), int(len(about.sessions) - before[1]))
        skip = _too_few(rows, settings["phases"]["min_train_rows"], validation_start)
        for target in targets:
            for model in (BASELINES, *models):
                missing = "" if target in about.targets else f"its table has no target {target!r}"
                missing = missing or _unlike(model, target)
                window = looks_back.get(model, 0) + 1
                if rows[0] < window:
                    missing = f"too short: {rows[0]} training rows, and {model} looks at {window} rows at once"
                together = [other for other in targets if other in about.targets] if learns_together(model) else []
                identity = digest(
                    {
                        "model": model,
                        "symbol": symbol,
                        "packages": environment()["packages"],
                        "config": models.get(model),
                        "target": target,
                        "table": about.fingerprint,
                        "features": about.features,
                        "horizon": about.horizon,
                        "cuts": [str(validation_start), str(test_start)],
                        "split": split,
                        "backtest": settings["backtest"],
                        "version": __version__,
                    }
                    | ({"together": together} if len(together) > 1 else {})
                )
                units.append(Unit(model, target, symbol, identity, rows, skip or missing))
    if request.fast_dev_run:
        first = next((unit.symbol for unit in units if not unit.skip), None)
        units = [unit for unit in units if unit.symbol == first] if first else units
    return Plan(request.phase, inputs, models, settings, targets, validation_start, test_start, units)


def chosen_features(request: Request, inputs: Inputs) -> Inputs:
    """The inputs with the features of a request; its settings name them, so that a run can be repeated.

    Raises
    ------
    ConfigError
        A table has no such feature.
    """
    if request.features is None:
        return inputs
    chosen = inputs.only(request.features)
    return replace(chosen, settings=inputs.settings | {CHOSEN: {"features": sorted(request.features)}})


def _check_horizons(about: SymbolInput, targets: list[str]) -> None:
    """A target that looks further than ``label_end`` says would be purged too little."""
    for target in set(targets) & set(about.targets):
        ahead = horizon_of(target, about.horizon)
        known_apart = label_end_of(target, about.columns) != "label_end"
        if known_apart or isinstance(ahead, str) or isinstance(about.horizon, str):
            continue
        if ahead > about.horizon:
            raise ConfigError(
                f"{about.symbol}: {target} looks {ahead} bars ahead, but label_end of its table only {about.horizon}; "
                "build the table with that horizon"
            )


def _check_fitted(inputs: Inputs, test_start: np.datetime64) -> None:
    """Latents that were fitted on test rows know something of them."""
    for about in inputs.symbols.values():
        if about.fitted_until >= test_start:
            raise ConfigError(
                f"{inputs.source}: the test window begins on {test_start}, in the rows that latents were fitted on, "
                f"until {about.fitted_until}; take the split that they were made with, or make latents with a smaller "
                "share to train on"
            )


def _check_ranking(metric: str, targets: list[str]) -> None:
    """A score of one task cannot rank targets of the other alone; found before anything is trained."""
    tasks = {label.task if (label := label_of(target)) else None for target in targets}
    having = {task for task, metrics in PREDICTION_METRICS.items() if metric in {row.name for row in metrics}}
    if having and None not in tasks and not tasks & having:
        raise ConfigError(f"rank_by: {metric} is a score of {' and '.join(having)} targets; got {', '.join(targets)}")


def named_targets(targets: list[str], inputs: Inputs) -> list[str]:
    """Targets as the tables call them, each once.

    Raises
    ------
    ConfigError
        No table has one, or one looks further than ``label_end`` says.
    """
    named = list(dict.fromkeys(_named(target, inputs) for target in targets))
    for about in inputs.symbols.values():
        _check_horizons(about, named)
    return named


def _named(target: str, inputs: Inputs) -> str:
    known = sorted({column for about in inputs.symbols.values() for column in about.targets})
    horizon = next(iter(inputs.symbols.values())).horizon
    name = target.replace("{horizon}", str(horizon))
    if name not in known:
        raise ConfigError(f"{inputs.source}: no target {name!r}{did_you_mean(name, known)}")
    return name


def _unlike(model: str, target: str) -> str:
    """Why a model cannot learn a target; empty where it can, or where only the values will tell."""
    label, tasks = label_of(target), () if model == BASELINES else predictor_class(model).tasks
    if model == BASELINES or label is None or label.task in tasks:
        return ""
    return f"{model} learns {' and '.join(tasks)} targets only, and {target} is {label.task}"


def _too_few(rows: tuple[int, int, int], needed: int, validation_start: np.datetime64) -> str:
    if rows[0] < needed:
        return (
            f"too short: {rows[0]} rows before {validation_start}, the end of the training window; {needed} are needed"
        )
    if not rows[1] or not rows[2]:
        return f"no rows in the {'validation' if not rows[1] else 'test'} window"
    return ""
