"""Everything that was ever tried on some data: whoever tries often enough finds something, so the tries are counted.

One file of JSON lines for each fingerprint, of a market history mostly. It outlives the runs: removing a run's folder
does not unsee it.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from CONFIG.errors import ConfigError, IntegrityError, LockedError
from DATA_PROCESSING.atomic import sync_folder

log = logging.getLogger("barzoo")
_WAIT = 60.0  # seconds; a line is written in milliseconds


@dataclass(frozen=True)
class Trial:
    """One result on the data that somebody could have chosen.

    Attributes
    ----------
    run : str
        Name of the run: the same configuration in another run is another trial, the same run done again is not.
    model, target : str
    config : str
        Digest of everything resolved that the result depends on, the seed included.
    features : str
        Digest of the list of features.
    tuning_trial : str
        Which trial of a tuning it is, else empty.
    symbol : str
        The symbol, where symbols are chosen from too; empty for the portfolio of all.
    sharpe : float
        Per session; NaN where undefined: the trial counts all the same.
    sessions : int
        Sessions that the Sharpe ratio was measured over.
    """

    run: str
    model: str
    target: str
    config: str
    features: str
    tuning_trial: str = ""
    symbol: str = ""
    sharpe: float = math.nan
    sessions: int = 0

    @property
    def identity(self) -> tuple[str, ...]:
        """What makes two trials the same."""
        return (self.run, self.model, self.target, self.config, self.features, self.tuning_trial, self.symbol)


@dataclass(frozen=True)
class Ledger:
    """The trials on the data with a fingerprint, kept in ``folder``; any number of processes may add at once."""

    folder: Path
    fingerprint: str

    @property
    def path(self) -> Path:
        return Path(self.folder) / f"{self.fingerprint}.jsonl"

    def add(self, trials: Iterable[Trial]) -> int:
        """Write down the trials that are not there yet and return how many these were.

        What is there when this returns is on the disk. Of a trial that is there already the first result stays.

        Raises
        ------
        ConfigError
            The folder cannot be written.
        IntegrityError
            The file holds something that is no trial.
        LockedError
            Another process keeps the file for a minute.
        """
        trials = list(trials)
        with self._held():
            known, end = self._read()
            new: dict[tuple[str, ...], Trial] = {}
            for trial in trials:
                if trial.identity not in known:
                    new.setdefault(trial.identity, trial)
            if not new:
                return 0
            payload = b"".join(map(_line, new.values()))
            with open(self.path, "ab") as file:
                file.truncate(end)  # a torn line would swallow the next one
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self.path.parent)
        return len(new)

    def trials(self) -> list[Trial]:
        """All trials, in the order in which they were added; errors as :meth:`add`."""
        if not self.path.exists():
            return []
        with self._held():
            return list(self._read()[0].values())

    def count(self) -> int:
        """Number of distinct trials, those without a Sharpe ratio too."""
        return len(self.trials())

    def sharpes(self) -> list[float]:
        """Sharpe ratios, per session, of the trials that have one."""
        return [trial.sharpe for trial in self.trials() if math.isfinite(trial.sharpe)]

    @contextmanager
    def _held(self) -> Iterator[None]:
        from filelock import FileLock, Timeout

        lock = FileLock(self.path.with_name(f".{self.fingerprint}.lock"))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with lock.acquire(timeout=_WAIT):
                yield
        except Timeout as error:
            raise LockedError(f"{self.path}: another process has kept it for {_WAIT:g} s; try again") from error
        except OSError as error:
            raise ConfigError(
                f"{self.path}: the ledger of trials cannot be written ({error.strerror}); choose another --output-dir"
            ) from error

    def _read(self) -> tuple[dict[tuple[str, ...], Trial], int]:
        """The trials by identity, and where the last whole line ends."""
        content = self.path.read_bytes() if self.path.exists() else b""
        end = content.rfind(b"\n") + 1
        if end < len(content):
            log.warning("%s: the last line was cut off while it was written; it is dropped", self.path)
        known: dict[tuple[str, ...], Trial] = {}
        for number, line in enumerate(content[:end].split(b"\n")[:-1], start=1):
            try:
                trial = _trial(line)
            except (ValueError, TypeError, KeyError) as error:
                raise IntegrityError(
                    f"{self.path}: line {number} is no trial; restore the file, or remove it to count from 0 again"
                ) from error
            known.setdefault(trial.identity, trial)
        return known, end


def _line(trial: Trial) -> bytes:
    sharpe = float(trial.sharpe)
    fields = asdict(trial) | {"sharpe": sharpe if math.isfinite(sharpe) else None, "sessions": int(trial.sessions)}
    return json.dumps(fields).encode() + b"\n"


def _trial(line: bytes) -> Trial:
    fields = json.loads(line)
    sharpe = fields["sharpe"]
    return Trial(**fields | {"sharpe": math.nan if sharpe is None else float(sharpe)})
