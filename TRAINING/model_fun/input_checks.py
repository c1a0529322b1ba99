"""What every trainer checks of the rows that it is given, before its own code sees them."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError, DataError
from DATA_PROCESSING.dataset import RowInfo
from DATA_PROCESSING.labels import task_of

log = logging.getLogger("barzoo")
FEWEST_ROWS = 10  # of a model that standardises: below, a scale and a loss say nothing
_LARGEST = 1e15  # a label beyond is none: its square would be infinite in single numbers


class InputChecks:
    """The checks of `TRAINING.model_fun.base.Trainer`, which has the attributes that they read."""

    def _check_trained(self) -> None:
        if not hasattr(self, "task"):
            raise ConfigError(f"{self.name}: not trained yet; call train first")

    def _check_columns(self, X: pd.DataFrame) -> list[str]:
        if not isinstance(X, pd.DataFrame):
            raise DataError(f"{self.name}: X_train must be a DataFrame with named columns, got {type(X).__name__}")
        columns = list(X.columns)
        if not all(isinstance(column, str) for column in columns):
            raise DataError(f"{self.name}: X_train must have columns named by text; use X.rename(columns=str)")
        if not columns or not len(X):
            raise DataError(f"{self.name}: X_train is empty, {len(X)} rows and {len(columns)} columns")
        repeated = X.columns[X.columns.duplicated()]
        if len(repeated):
            raise DataError(f"{self.name}: X_train has the column {str(repeated[0])!r} twice")
        return columns

    def _check_values(self, X: pd.DataFrame, where: str) -> np.ndarray:
        if X.to_numpy().dtype.kind != "f":  # asking each column is slow
            text = [str(column) for column, dtype in X.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)]
            if text:
                raise DataError(f"{self.name}: {where} has columns that are not numbers: {', '.join(text[:5])}")
        values = as_floats(X)
        if np.isfinite(values).all():
            return values
        for fault, broken in (("infinite", np.isinf(values)), ("missing", np.isnan(values))):
            if not broken.any():
                continue
            if fault == "missing" and self.allows_nan:
                empty = [str(X.columns[column]) for column in np.flatnonzero(broken.all(axis=0))]
                if empty and where == "X_train":
                    note = f"features without any value in training, so unused: {', '.join(empty)}"
                    self.notes.append(note)
                    log.warning("%s: %s", self.name, note)
                continue
            counts = broken.sum(axis=0)
            column = int(counts.argmax())
            first = X.index[int(broken[:, column].argmax())]
            raise DataError(
                f"{self.name}: {where} column {str(X.columns[column])!r} has {counts[column]} {fault} values, the "
                f"first at {first} ({int((counts > 0).sum())} such columns); drop the rows"
                f"{' or write NaN' if self.allows_nan else ' or fill them'}"
            )
        return values

    def _check_labels(self, X: pd.DataFrame, y: pd.Series, where: str) -> np.ndarray:
        if isinstance(y, pd.DataFrame):
            raise DataError(f"{self.name}: {where} must be one target, got a table of {y.shape[1]}; choose one column")
        if len(y) != len(X):
            raise DataError(f"{self.name}: {where} has {len(y)} rows, X has {len(X)}")
        if isinstance(y, pd.Series) and not y.index.equals(X.index):
            raise DataError(
                f"{self.name}: {where} and X have different indexes; align them first, for example y.loc[X.index]"
            )
        try:
            values = np.asarray(y, dtype=float)
        except (TypeError, ValueError) as error:
            raise DataError(f"{self.name}: {where} must be numbers ({error})") from error
        bad = np.abs(values) > _LARGEST if self.context_rows else ~(np.abs(values) <= _LARGEST)
        if bad.any():
            raise DataError(f"{self.name}: {where} has {bad.sum()} missing or infinite labels; drop those rows first")
        if np.isnan(values).all():
            raise DataError(f"{self.name}: {where} has no label in {len(values)} rows; nothing to learn")
        return values

    def _check_rows(self, rows: RowInfo, count: int) -> None:
        if len(rows.label_end) != count:
            raise DataError(f"{self.name}: rows describes {len(rows.label_end)} rows, X_train has {count}")
        if rows.sample_weight is None:
            return
        weight = np.asarray(rows.sample_weight)
        if weight.shape != (count,):
            raise DataError(f"{self.name}: sample_weight has the shape {weight.shape}, X_train has {count} rows")
        bad = ~(np.isfinite(weight) & (weight >= 0))
        if bad.any():
            raise DataError(
                f"{self.name}: sample_weight must be finite and at least 0; {bad.sum()} of {count} are not, the first "
                f"{weight[bad][0]} in row {int(bad.argmax())}"
            )
        if not weight.any():
            raise DataError(f"{self.name}: sample_weight is 0 in all {count} rows; nothing to learn")

    def _choose_task(self, y: np.ndarray) -> str:
        asked = self.config["task"]
        if asked != "auto":
            return asked
        return task_of(str(self.target), y)

    def _check_classes(self, y: np.ndarray, which: str = "rows") -> None:
        distinct = np.unique(y)
        if self.task == "binary" and not np.isin(distinct, (0, 1)).all():
            raise DataError(
                f"{self.name}: the binary target {self.target!r} must be 0 or 1, got {distinct[:5].tolist()}"
            )
        if len(distinct) > 1:
            return
        kind = "one class only" if self.task == "binary" else "constant"
        told = f"{kind}, {next(iter(distinct), np.nan):g} in all {len(y)} {which}"
        raise DataError(f"{self.name}: the target {self.target!r} is {told}; nothing to learn")

    def _align(self, X: pd.DataFrame, where: str) -> pd.DataFrame:
        if not isinstance(X, pd.DataFrame):
            raise DataError(f"{self.name}: {where} must be a DataFrame with named columns, got {type(X).__name__}")
        if list(X.columns) != self.features:
            missing = [column for column in self.features if column not in X.columns]
            if missing:
                extra = [str(column) for column in X.columns if column not in self.features]
                shown = f"{', '.join(missing[:8])}{' ...' if len(missing) > 8 else ''}"
                unused = f"; unknown to it: {', '.join(extra[:8])}{' ...' if len(extra) > 8 else ''}" if extra else ""
                raise DataError(
                    f"{self.name}: {where} lacks {len(missing)} of the {len(self.features)} training columns: "
                    f"{shown}{unused}"
                )
            X = X[self.features]
        self._check_values(X, where)
        return X


def as_floats(X: pd.DataFrame) -> np.ndarray:
    """(n, features) float32 where all columns are, otherwise float64; shares memory with a frame of one kind."""
    values = X.to_numpy()
    return values if values.dtype in (np.float32, np.float64) else X.to_numpy(float)
