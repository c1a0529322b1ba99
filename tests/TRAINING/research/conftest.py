"""A labeled panel without leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from threadpoolctl import threadpool_limits

from DATA_PROCESSING.features.build import build_features
from DATA_PROCESSING.labels import build_labels
from TRAINING.research.subject import Subject, open_subject


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """As in an audit: the arrays are too small for threads of linear algebra."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def labeled_frame(bars_folder: Path) -> pd.DataFrame:
    """Three symbols of 500 bars with features and labels."""
    tables = []
    for path in sorted(bars_folder.glob("*.csv")):
        bars = pd.read_csv(path, parse_dates=["timestamp"])
        labels = build_labels(bars, horizon=5, barrier=1.0, vol_window=60)
        tables.append(pd.concat([bars, build_features(bars), labels], axis=1).assign(symbol=path.stem))
    return pd.concat(tables, ignore_index=True)


@pytest.fixture(scope="session")
def clean(labeled_frame: pd.DataFrame) -> Subject:
    return open_subject(labeled_frame)


class Listener:
    """Counts the steps of each stage."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.steps: dict[str, int] = {}

    @contextmanager
    def stage(self, what: str, total: int) -> Iterator[Callable[[str], None]]:
        self.totals[what], self.steps[what] = total, 0

        def step(text: str) -> None:
            self.steps[what] += 1

        yield step


@pytest.fixture
def listener() -> Listener:
    return Listener()
