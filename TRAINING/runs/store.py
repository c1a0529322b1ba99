"""The files of a run: one sealed folder per unit, a log of finished units, and the run's own papers."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from CONFIG.errors import ConfigError, IntegrityError
from DATA_PROCESSING.atomic import sync_folder, write_atomically, write_durably
from DATA_PROCESSING.symbols import file_stem
from TRAINING.runs.manifest import NAME, read_sealed, seal

_MARKER = ".barzoo"  # a folder without it is not a run's, whatever it holds
_OURS = frozenset(
    ("units", "labeled", "folds", "results", "config.resolved.yaml", "env.json", "log.txt", "metrics.jsonl",
     "leaderboard.csv", "units.csv", "model", "report.html", "report.md", "report_tables", "summary.png", "audit.json",
     "study.db", "study.db-journal", "trials.csv", "tensorboard", "mlflow.db", NAME)
)  # fmt: skip


def write_sealed(folder: Path, body: dict, files: dict[str, bytes]) -> None:
    """Write a folder of files and its manifest, whole or not at all, in place of what was there."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    for name, payload in {**files, NAME: seal(body, files)}.items():
        write_durably(temporary / name, payload)
    if folder.exists():
        shutil.rmtree(folder)
    os.rename(temporary, folder)
    sync_folder(folder.parent)
    if "identity" in body:
        shutil.rmtree(training_folder(folder, body["identity"]), ignore_errors=True)


def training_folder(folder: Path, identity: str) -> Path:
    """Where a long training leaves checkpoints until `write_sealed` has written its ``folder``."""
    return folder.with_name(f".{folder.name}.{identity[:16]}.training")


@dataclass(frozen=True)
class RunFolder:
    """Where a run keeps its results; see docs/02_ARCHITECTURE.md for the files."""

    path: Path

    def create(self) -> None:
        """Make the folder, and find out before any work whether it can be written and is ours.

        Raises
        ------
        ConfigError
            It cannot be made or written, or holds something that is no run.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            names = {path.name for path in self.path.iterdir() if path.suffix != ".tmp"} - {".lock"}
            if names and _MARKER not in names:
                raise ConfigError(
                    f"{self.path}: not a run folder, it holds {min(names)!r}; choose a new or empty --output-dir"
                )
            write_atomically(self.path / _MARKER, b"")
        except OSError as error:
            raise ConfigError(
                f"{self.path}: cannot write there ({error.strerror}); choose another --output-dir"
            ) from error

    def clear(self) -> None:
        """Remove every result of a run; what somebody else put there stays."""
        for name in _OURS:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @property
    def tables(self) -> Path:
        """Where labeled tables made for this run lie."""
        return self.path / "labeled"

    def unit(self, model: str, target: str, symbol: str) -> Path:
        """A unit's folder; names from users cannot leave the run's."""
        return self.path / "units" / model / file_stem(target) / file_stem(symbol)

    def finished_unit(self, folder: Path, identity: str) -> tuple[dict, dict[str, bytes]] | None:
        """A unit's manifest and files if it is whole and of this identity, else ``None``: it is trained again."""
        try:
            manifest, files = read_sealed(folder)
        except IntegrityError:
            return None
        return (manifest, files) if manifest.get("identity") == identity else None

    def write(self, name: str, content: str | bytes) -> Path:
        """Write one of the run's papers atomically and return its path."""
        write_atomically(self.path / name, content)
        return self.path / name

    def append_metrics(self, line: str) -> None:
        """Add a line to metrics.jsonl, for who watches; the run's end writes the file anew."""
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as file:
            file.write(line + "\n")
