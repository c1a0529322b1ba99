"""A run's folder as what is to be audited: the tables that it learnt from, its windows, its predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import BarzooError, DataError
from CONFIG.strict_yaml import read_yaml
from DATA_PROCESSING import labeled
from DATA_PROCESSING.sources import read_panel
from TRAINING.evaluation.splits import split_dates
from TRAINING.phases.inputs import Inputs, open_inputs
from TRAINING.phases.plan import BASELINES
from TRAINING.research.checks import Check
from TRAINING.research.subject import Subject, of_inputs, with_targets
from TRAINING.research.walks import RUN, check_walks
from TRAINING.runs.manifest import NAME as MANIFEST
from TRAINING.runs.manifest import read_sealed
from TRAINING.runs.store import RunFolder

MOST_UNITS = 200


def is_run(source: object) -> bool:
    """Whether a SOURCE is the folder of a run."""
    return isinstance(source, str | Path) and (Path(source) / MANIFEST).is_file()


def is_walk(source: object) -> bool:
    """Whether a SOURCE is the folder of a walk-forward."""
    return is_run(source) and read_sealed(Path(source))[0].get("phase") == "walkforward"


def open_run(folder: Path, most_rows: int, on_read: Callable[[str], None] = lambda text: None) -> tuple[Subject, Check]:
    """Read what a run learnt from, and look at what it says of itself.

    Raises
    ------
    IntegrityError
        The run's manifest was edited, or a table.
    DataError
        The manifest names no source.
    """
    manifest, _ = read_sealed(folder)
    if "source" not in manifest:
        raise DataError(f"{folder}: its manifest names no source; audit the SOURCE that it was made from")
    tables = RunFolder(folder).tables
    source = str(tables) if labeled.labeled_files(tables) else manifest["source"]
    inputs = open_inputs(source, sorted(manifest["tables"]) if "tables" in manifest else None, on_read=on_read)
    split = _settings(folder).get("split") or load_run_config("split")
    windows = manifest.get("windows")
    if windows:
        cuts = tuple(np.datetime64(windows[name][0], "D") for name in ("validation", "test"))
    else:
        cuts = split_dates(inputs.sessions, split["train"], split["validation"])
    subject = of_inputs(inputs, split, cuts, most_rows)
    builder = inputs.builder or _builder(manifest)
    sessions = subject.sessions if builder is None else builder.panel.sessions
    subject = replace(subject, source=str(folder), builder=builder, sessions=sessions)
    subject = with_targets(subject, manifest["targets"])
    if manifest["phase"] == "walkforward":
        return subject, check_walks(folder, subject)
    return subject, _check_units(folder, manifest, inputs, cuts)


def _settings(folder: Path) -> dict:
    path = folder / "config.resolved.yaml"
    return read_yaml(path)[0] if path.is_file() else {}


def _builder(manifest: dict) -> labeled.TableBuilder | None:
    """What made the run's tables, from the bars as they are now; None where these, or own features, are gone."""
    settings = manifest["settings"]
    if not {"bars", "features", "labels"} <= set(settings):
        return None
    others = labeled.needs_others(settings["features"], settings["labels"])
    try:
        panel = read_panel(manifest["source"], settings["bars"], others=others)
        return labeled.TableBuilder(panel, settings["features"], settings["labels"])
    except BarzooError:
        return None


def _check_units(folder: Path, manifest: dict, inputs: Inputs, cuts: tuple[np.datetime64, np.datetime64]) -> Check:
    """Whether its predictions are those of test rows with the labels of its tables, which are those it names."""
    other = [
        symbol
        for symbol, about in inputs.symbols.items()
        if manifest.get("tables", {}).get(symbol, about.fingerprint) != about.fingerprint
    ]
    units = sorted(path for path in (folder / "units").glob("*/*/*") if path.parts[-3] != BASELINES)[:MOST_UNITS]
    early, unlike, rows = [], [], 0
    for path in units:
        about, files = read_sealed(path)
        made = pd.read_parquet(BytesIO(files["predictions.parquet"]))
        made = made[made["name"] == about["model"]]
        rows += len(made)
        if (made["session"].to_numpy("datetime64[D]") < cuts[1]).any():
            early.append(str(path.relative_to(folder)))
        if about["symbol"] in inputs.symbols and about["symbol"] not in other:
            table = inputs.table(about["symbol"], None).set_index("timestamp")
            expected = table[about["target"]].reindex(pd.DatetimeIndex(made["timestamp"]))
            if not np.array_equal(expected.to_numpy(float), made["y"].to_numpy(float), equal_nan=True):
                unlike.append(str(path.relative_to(folder)))
    numbers = {"units": len(units), "predictions": rows, "changed_tables": other}
    numbers |= {"predictions_before_the_test_window": early, "labels_unlike_the_table": unlike}
    if early:
        told = f"{early[0]} and {len(early) - 1} more units have predictions from before the test window, {cuts[1]}"
        return Check(RUN, "failed", told, numbers)
    if unlike:
        told = f"{unlike[0]} and {len(unlike) - 1} more units were scored on labels that are not those of the table"
        return Check(RUN, "failed", told, numbers)
    if other:
        return Check(RUN, "warned", f"the tables of {', '.join(other[:5])} are no longer those of the run", numbers)
    told = f"{rows:,} predictions of {len(units)} units lie in the test window, with the labels of the tables"
    return Check(RUN, "passed", told, numbers)
