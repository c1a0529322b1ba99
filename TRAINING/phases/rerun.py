"""Repeat a finished run from its own papers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from CONFIG.config_loader import run_topics
from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING import labeled
from DATA_PROCESSING.sources.storage import DATABASE
from TRAINING.phases.finished import FinishedRun
from TRAINING.phases.inputs import Inputs, open_inputs
from TRAINING.phases.plan import CHOSEN, Request, make_plan
from TRAINING.phases.run import Outcome, Progress, run_plan
from TRAINING.phases.walkforward import WalkOutcome, make_walk_plan, run_walk

_VARIANT = "as_run"


def repeat(
    run: FinishedRun,
    folder: Path,
    *,
    jobs: int,
    progress: Progress,
    source: str | None = None,
    stop: threading.Event | None = None,
    on_read: Callable[[str], None] = lambda text: None,
) -> Outcome | WalkOutcome:
    """Do again, in a folder of its own, what a run did: the same configuration on the same symbols of its source.

    Paths are read as they were then, from the folder in which the run was started, if that is still there. The source
    is read as it is now: what has changed in it, `TRAINING.phases.compare.compare_papers` tells.

    Parameters
    ----------
    run : FinishedRun
    folder : Path
        New or empty: a result that is there already would prove nothing.
    jobs : int
        Models (of a walk-forward: folds) at once.
    progress : Progress
    source : str, optional
        Where the data are now, if not where the run read them.
    stop : Event, optional
        Once set, running units finish and no other starts.
    on_read : callable
        Told in a sentence what is read.

    Raises
    ------
    ConfigError
        The folder holds something, or a key of the configuration is gone in this version.
    DataError
        The source, or a symbol of it, is gone.
    IntegrityError
        A labeled table of the source was edited.
    """
    folder, origin = Path(folder).resolve(), Path(run.manifest["folder"])
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: holds something already; choose a new or empty --output-dir")
    source = run.manifest["source"] if source is None else _absolute(source)
    with TemporaryDirectory() as papers, chdir(origin if origin.is_dir() else "."):
        files = _write_config(run, Path(papers))
        targets = run.manifest["targets"]
        target = targets[0] if len(targets) == 1 else None  # several of a core run come from phases.yaml
        chosen = run.manifest["config"].get(CHOSEN, {}).get("features")
        request = Request(run.phase, source, run.manifest["models"], None, target, _VARIANT, files, features=chosen)
        inputs = _open(run, request, on_read)
        if run.phase == "walkforward":
            scopes = run.manifest["scopes"]
            overrides = {"scope": "both" if len(scopes) > 1 else scopes[0]}
            plan = make_walk_plan(request, inputs, targets, overrides)
            return run_walk(plan, folder, jobs=jobs, progress=progress, stop=stop)
        return run_plan(make_plan(request, inputs), folder, jobs=jobs, progress=progress, stop=stop)


def _absolute(source: str) -> str:
    return str(Path(source).resolve()) if Path(source).exists() else source


def _write_config(run: FinishedRun, folder: Path) -> tuple[Path, ...]:
    """The configuration of a run as files of a user's, so that this version checks each key."""
    written = {
        topic: {"defaults": values}
        for topic, values in run.manifest["config"].items()
        if topic in run_topics() and isinstance(values, dict)
    }
    written |= {model: {"variants": {_VARIANT: values}} for model, values in run.manifest["config"]["models"].items()}
    for name, sections in written.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(sections), encoding="utf-8")
    return tuple(folder / f"{name}.yaml" for name in written)


def _open(run: FinishedRun, request: Request, on_read: Callable[[str], None]) -> Inputs:
    """The symbols of the run in its source as it is now."""
    source = Path(request.source)
    is_address = "://" in request.source or DATABASE.match(request.source)
    if request.source != "demo" and not is_address and not source.exists():
        raise DataError(
            f"{run.folder}: its source {request.source} is not in {Path.cwd()} any more; "
            "say with --source where the data are now"
        )
    wanted = None  # all, so that what is wrong with a lost one is told
    if labeled.labeled_files(source):
        paths = [labeled.table_path(source, symbol) if source.is_dir() else source for symbol in run.symbols]
        there = [path for path in paths if path.exists()]
        for path in there:
            labeled.read_table(path, ["timestamp"])  # an edited table is an error of its own
        if there == paths:
            wanted = run.symbols  # tables beside them may be made with other settings
    inputs = open_inputs(request.source, wanted, request.files, on_read=on_read)
    lost = [symbol for symbol in run.symbols if symbol not in inputs.symbols]
    if lost:
        why = inputs.problems.get(lost[0], "it is not there any more")
        raise DataError(f"{request.source}: cannot repeat {run.folder} without {lost[0]!r} and what it held: {why}")
    if len(inputs.symbols) > len(run.symbols):
        inputs = open_inputs(request.source, run.symbols, request.files)
    return inputs
