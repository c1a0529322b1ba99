"""A finished run, read back from its folder: its papers, and the numbers of each of its units as frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd

from CONFIG.errors import ConfigError, IntegrityError
from DATA_PROCESSING.symbols import symbol_of
from TRAINING.phases.answers import read_answers
from TRAINING.phases.plan import BASELINES
from TRAINING.runs.manifest import NAME, read_sealed
from TRAINING.walkforward import WalkForwardResults

_NEEDED = ("phase", "source", "targets", "models", "config", "tables", "bars", "folder", "environment")
_MONEY = ["symbol", "session", "position", "position_change", "asset_return", "net_return"]


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run that came to its end.

    Attributes
    ----------
    folder : Path
    manifest : dict
        Its papers; see `TRAINING.phases.run.write_papers`.
    leaderboard : DataFrame
    units : dict of (str, str, str) to Path
        The sealed folder of each unit by model, target and symbol (of a walk-forward: scope); baselines are among them.
    """

    folder: Path
    manifest: dict
    leaderboard: pd.DataFrame
    units: dict[tuple[str, str, str], Path]

    @property
    def phase(self) -> str:
        """``core``, ``sequential`` or ``walkforward``."""
        return self.manifest["phase"]

    @property
    def symbols(self) -> list[str]:
        """Those that it read."""
        return sorted(self.manifest["tables"])

    def frames(self, unit: tuple[str, str, str]) -> dict[str, pd.DataFrame]:
        """Every number that a unit found, in frames by name; the index says what each is of.

        Raises
        ------
        IntegrityError
            A file of it is missing, truncated or edited.
        """
        folder = self.units[unit]
        if self.phase == "walkforward":
            found = WalkForwardResults.load(folder)
            return {
                "predictions": found.predictions.set_index(["model", "symbol", "timestamp"]),
                "returns": found.returns.set_index(["model", "session"]),
                "metrics": found.metrics,
                "folds": found.folds.set_index(["fold", "symbol"]),
                "importance": found.importance.set_index(["fold", "symbol", "feature"]),
            }
        record, files = read_sealed(folder)
        model = {name: [record[name]] for name in ("threshold", "rounds") if name in record}
        return {
            "predictions": _predictions(files).set_index(["model", "timestamp"]),
            "metrics": pd.DataFrame(record["scores"]).T.rename_axis("model"),
            "model": pd.DataFrame(model, index=[record["model"]]),
            "importance": pd.DataFrame({"importance": pd.Series(record.get("importance", {}), dtype=float)}),
            **{
                name: frame.set_index("timestamp") if "timestamp" in frame else frame
                for name, frame in read_answers(files).items()
            },
        }

    def pools(self) -> Iterator[tuple[tuple[str, str, str], int, pd.DataFrame]]:
        """Each model and target, and scope of a walk-forward: its horizon in bars, and its test rows with their money.

        Raises
        ------
        IntegrityError
            As :meth:`frames`.
        """
        groups: dict[tuple[str, str, str], list[tuple[str, str, str]]] = {}
        for model, target, last in self.units:
            if model != BASELINES:
                scope = last if self.phase == "walkforward" else ""
                groups.setdefault((model, target, scope), []).append((model, target, last))
        for key, units in sorted(groups.items()):
            manifest, frames = {}, []
            for unit in units:
                manifest, files = read_sealed(self.units[unit])
                rows = _predictions(files)
                rows = rows[rows["model"] == unit[0]]
                frames.append((rows if "symbol" in rows else rows.assign(symbol=manifest["symbol"]))[_MONEY])
            yield key, manifest["horizon"], pd.concat(frames, ignore_index=True)


def _predictions(files: dict[str, bytes]) -> pd.DataFrame:
    rows = pd.read_parquet(BytesIO(files["predictions.parquet"])).rename(columns={"name": "model"})
    return rows.astype({"session": "datetime64[ns]"} | dict.fromkeys({"model", "symbol"} & set(rows), str))


def open_run(folder: str | Path) -> FinishedRun:
    """Read what a finished run says of itself.

    Raises
    ------
    ConfigError
        There is no run, or one that only makes features or searches settings.
    IntegrityError
        It was edited, did not come to its end, or was made before runs said all that is needed here.
    """
    folder = Path(folder)
    if not (folder / NAME).is_file():
        there = "no run folder, it has no manifest.json" if folder.is_dir() else "there is no such folder"
        raise ConfigError(f"{folder}: {there}; name the folder of a run, such as runs/core-0123456789")
    manifest, _ = read_sealed(folder)
    if manifest.get("phase") in ("features", "tune"):
        raise ConfigError(
            f"{folder}: a {manifest['phase']} run, which has no predictions; name a core, sequential or walkforward run"
        )
    missing = [name for name in _NEEDED if name not in manifest]
    if missing:
        raise IntegrityError(
            f"{folder / NAME}: does not say {missing[0]!r}; not a run's, or an older barzoo's: run it again"
        )
    try:
        board = pd.read_csv(folder / "leaderboard.csv", keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise IntegrityError(
            f"{folder}: half finished, it has no leaderboard.csv; run the same command again, it goes on from there"
        ) from error
    walked = manifest["phase"] == "walkforward"
    paths = [path.parent for path in sorted(folder.glob(f"{'results' if walked else 'units'}/*/*/*/{NAME}"))]
    names = {path: path.parts[-3:] for path in paths if not path.name.startswith(".")}
    units = {(parts if walked else tuple(map(symbol_of, parts))): path for path, parts in names.items()}
    return FinishedRun(folder, manifest, board, units)
