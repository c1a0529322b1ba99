"""The audit of bars, labeled tables or a run: is there anything that knows the future?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from CONFIG.config_loader import load_run_config
from CONFIG.errors import ConfigError
from TRAINING.phases.run import Progress
from TRAINING.research import canary, contamination, foresight, null, overlap, reach, survivorship, truncation
from TRAINING.research.checks import AuditReport, Check
from TRAINING.research.runs import is_run, open_run
from TRAINING.research.subject import Subject, open_subject

__all__ = ["AuditReport", "Check", "audit"]


class _Silent:
    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        yield lambda text: None


def audit(
    source: str | Path | pd.DataFrame,
    *,
    symbols: list[str] | None = None,
    targets: Iterable[str] | None = None,
    files: Iterable[Path] = (),
    feature_overrides: Mapping[str, str] | None = None,
    settings: Mapping[str, object] | None = None,
    on_read: Callable[[str], None] = lambda text: None,
    progress: Progress | None = None,
) -> AuditReport:
    """Look for what knows the future in bars, labeled tables or a run.

    Parameters
    ----------
    source : str, Path or DataFrame
        ``demo``; a folder, file or database of bars, which are labeled first; a folder or file of labeled tables; a
        labeled DataFrame (of one symbol, or with a ``symbol``); or a run's folder.
    symbols : list of str, optional
        Only these; of many, some are looked at.
    targets : iterable of str, optional
        What models are trained on here; by default those of the core phase that there are, or those of the run.
    files : iterable of Path
        The user's own run configs.
    feature_overrides : mapping, optional
        Values of the run config ``features``, for bars: ``features_from`` names a file of the user's own functions.
    settings : mapping, optional
        Values of the run config ``audit`` that come before the others.
    on_read : callable
        Told in a sentence what is read.
    progress : Progress, optional
        Told what happens.

    Returns
    -------
    AuditReport
        The same for the same source; random numbers are seeded.

    Raises
    ------
    ConfigError, DataError, IntegrityError
        What cannot be read, or audited, at all.
    """
    from threadpoolctl import threadpool_limits

    files, progress = tuple(files), progress or _Silent()
    settings = load_run_config("audit", settings, files)
    with threadpool_limits(1):
        if is_run(source):
            if symbols is not None or targets is not None or feature_overrides:
                raise ConfigError(f"{source}: a run has its symbols, targets and features; audit its source for others")
            subject, check = open_run(Path(source), settings["most_rows"], on_read)
            checks = [check]
        else:
            subject = open_subject(
                source,
                symbols=symbols,
                targets=targets,
                files=files,
                feature_overrides=feature_overrides,
                most_rows=settings["most_rows"],
                on_read=on_read,
            )
            checks = []
        checks += _checks(subject, settings, progress)
    about = {
        "symbols": len(subject.spans),
        "symbols_looked_at": len(subject.rows_of_symbols()),
        "rows": len(subject.table),
        "features": len(subject.features),
        "targets": list(subject.targets),
        "sessions": [str(subject.sessions[0]), str(subject.sessions[-1])],
        "validation_start": str(subject.cuts[0]),
        "test_start": str(subject.cuts[1]),
        "settings": settings,
    }
    return AuditReport(subject.source, tuple(checks), about)


def _checks(subject: Subject, settings: dict, progress: Progress) -> list[Check]:
    margin, smaller = settings["margin"], subject.smaller(settings["null_rows"])
    quick = (
        lambda: truncation.check_truncation(subject),
        lambda: reach.check_labels(subject),
        lambda: overlap.check_overlap(subject),
        lambda: contamination.check_contamination(subject),
        lambda: foresight.check_foresight(subject, margin),
        lambda: survivorship.check_survivorship(subject, settings["deaths_per_year"]),
        lambda: survivorship.check_splits(subject),
    )
    checks = []
    with progress.stage("check", len(quick)) as step:
        for look in quick:
            checks.append(look())
            step(f"{checks[-1].name}: {checks[-1].verdict}")
    with progress.stage("null", len(subject.targets) * (settings["null_runs"] + 1)) as step:
        checks.append(null.check_null(smaller, settings["null_runs"], margin, step))
    applicable = {check.name for check in checks if check.verdict != "not applicable"}
    with progress.stage("canary", len(canary.CANARIES)) as step:
        checks.append(canary.check_canary(smaller, margin, applicable, step))
    return checks
