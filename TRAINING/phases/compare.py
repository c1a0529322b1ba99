"""Two finished runs side by side: every number, what they were made from and with, and what that did to the metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from CONFIG.errors import ConfigError
from DATA_PROCESSING.sessions import sessions_per_year
from TRAINING.evaluation.baselines import BUY_AND_HOLD
from TRAINING.evaluation.portfolio import portfolio
from TRAINING.evaluation.significance import beats, default_block
from TRAINING.phases.finished import FinishedRun

NUMBERS = ["unit", "table", "column", "values", "differing", "largest", "first"]
CHANGES = ["kind", "where", "what", "a", "b"]
METRICS = ["model", "target", "kind", "metric", "a", "b", "difference"]
SHARPES = ["model", "target", "scope", "symbols", "sessions", "difference", "low", "high", "reason"]
_NO_METRICS = ("rank", "sharpe_low", "sharpe_high")  # of two intervals, the difference says nothing
_ONLY = "(rows)"  # in place of a column, for rows that one run has and the other not


@dataclass(frozen=True, eq=False)
class NumbersCompared:
    """Every number of two runs, compared bit for bit; two missing values are the same.

    Attributes
    ----------
    values : int
        Numbers and texts that both runs have.
    units : int
        Units that both runs have.
    differences : DataFrame
        A row per unit, table and column that differs: ``values`` compared, how many are ``differing``, the ``largest``
        absolute difference (NaN where it is no number) and where the ``first`` is. Rows that one run alone has are
        counted under the column ``(rows)``, and units likewise under the table ``(unit)``.
    """

    values: int
    units: int
    differences: pd.DataFrame

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.differences.empty


def compare_numbers(a: FinishedRun, b: FinishedRun) -> NumbersCompared:
    """Compare every number of two runs of one phase, one unit after the other, and the leaderboards.

    Raises
    ------
    ConfigError
        The runs are of different phases.
    IntegrityError
        A file of a unit is missing, truncated or edited.
    """
    _check_alike(a, b)
    differences, values = [], 0
    common = sorted(a.units.keys() & b.units.keys())
    for unit in sorted(a.units.keys() ^ b.units.keys()):
        which = "first" if unit in a.units else "second"
        differences.append((" ".join(unit), "(unit)", "", 0, 1, math.nan, f"only in the {which} run"))
    for unit in common:
        ours, theirs = a.frames(unit), b.frames(unit)
        for table in dict.fromkeys([*ours, *theirs]):
            first, second = ours.get(table), theirs.get(table)
            first, second = (second[:0] if first is None else first), (first[:0] if second is None else second)
            count, found = _compare_frames(first, second)
            values += count
            differences += [(" ".join(unit), table, *row) for row in found]
    keys = ["model", "target"]
    count, found = _compare_frames(a.leaderboard.set_index(keys), b.leaderboard.set_index(keys))
    differences += [("", "leaderboard", *row) for row in found]
    return NumbersCompared(values + count, len(common), pd.DataFrame(differences, columns=NUMBERS))


def _check_alike(a: FinishedRun, b: FinishedRun) -> None:
    if a.phase != b.phase:
        raise ConfigError(
            f"{a.folder} is a run of the phase {a.phase} and {b.folder} of {b.phase}; compare two of the same phase"
        )


def _compare_frames(a: pd.DataFrame, b: pd.DataFrame) -> tuple[int, list[tuple]]:
    """How many values both frames have, and a row of `NUMBERS` (but for unit and table) per column that differs."""
    values, found = 0, []
    if not a.index.equals(b.index):
        in_b, in_a = a.index.isin(b.index), b.index.isin(a.index)
        for which, alone in (("first", a.index[~in_b]), ("second", b.index[~in_a])):
            if len(alone):
                found.append((_ONLY, 0, len(alone), math.nan, f"only in the {which} run: {_place(alone[0])}"))
        a, b = a[in_b], b[in_a].reindex(a.index[in_b])
    for column in dict.fromkeys([*a.columns, *b.columns]):
        if column not in a or column not in b:
            which = "first" if column in a else "second"
            found.append((str(column), 0, len(a), math.nan, f"only in the {which} run"))
            continue
        values += len(a)
        differs, largest = _differs(a[column], b[column])
        if differs.any():
            found.append((str(column), len(a), int(differs.sum()), largest, _place(a.index[np.argmax(differs)])))
    return values, found


def _differs(a: pd.Series, b: pd.Series) -> tuple[np.ndarray, float]:
    """Where two columns differ in one bit, and by how much at most."""
    missing = (a.isna() & b.isna()).to_numpy()
    if a.dtype == b.dtype and a.dtype.kind == "M":
        return (a != b).to_numpy() & ~missing, math.nan
    if not all(pd.api.types.is_numeric_dtype(column) for column in (a, b)):
        return (a.astype(str) != b.astype(str)).to_numpy() & ~missing, math.nan
    ours, theirs = (np.ascontiguousarray(column, dtype=np.float64) for column in (a, b))
    differs = (ours.view(np.int64) != theirs.view(np.int64)) & ~missing
    sizes = np.abs(ours[differs] - theirs[differs])
    return differs, float(np.nanmax(sizes)) if np.isfinite(sizes).any() else math.nan


def _place(key: object) -> str:
    """A key of an index in words: the text of its parts, of times at midnight the date."""
    parts = key if isinstance(key, tuple) else (key,)
    return " ".join(str(part).removesuffix("+00:00").removesuffix(" 00:00:00") for part in parts if str(part))


def compare_papers(a: FinishedRun, b: FinishedRun) -> pd.DataFrame:
    """What two runs were made from and with, where it differs.

    Returns
    -------
    DataFrame
        ``kind`` (``config``, ``seed``, ``code`` or ``data``), ``where`` (a symbol, a model, a run config, ...),
        ``what`` (the key) and the values ``a`` and ``b``; None where a run has none.
    """
    ours, theirs = dict(_papers(a)), dict(_papers(b))
    rows = [
        (*key, ours.get(key), theirs.get(key))
        for key in dict.fromkeys([*ours, *theirs])
        if ours.get(key) != theirs.get(key)
    ]
    table = pd.DataFrame(rows, columns=CHANGES, dtype=object)
    # Of a symbol that one run alone has, the extent is enough, and of one with another extent too.
    moved = table.loc[(table["kind"] == "data") & (table["what"] != "fingerprint"), "where"]
    told = (table["what"] == "fingerprint") & table["where"].isin(moved)
    return table[~told].sort_values("kind", key=lambda kind: kind.map(_ORDER), kind="stable", ignore_index=True)


_ORDER = {"config": 0, "seed": 1, "code": 2, "data": 3}  # data last: it may be a row for each of many symbols


def _papers(run: FinishedRun) -> Iterator[tuple[tuple[str, str, str], object]]:
    about = run.manifest
    yield ("data", "", "source"), about["source"]
    for symbol in run.symbols:
        extent = about["bars"][symbol]
        yield ("data", symbol, "bars"), f"{extent['rows']:,} from {extent['first']} to {extent['last']}"
        yield ("data", symbol, "fingerprint"), about["tables"][symbol]
    for what in ("targets", "scopes"):
        yield ("config", "", what), about.get(what)
    config = dict(about["config"])
    for where, values in {**config.pop("models"), **config}.items():
        for key, value in values.items() if isinstance(values, dict) else [("", values)]:
            yield ("seed" if key == "seed" else "config", where, key), value
    environment = about["environment"]
    for what in ("python", "platform"):
        yield ("code", "", what), environment[what]
    for package, version in environment["packages"].items():
        yield ("code", "", package), version


def compare_metrics(a: FinishedRun, b: FinishedRun) -> pd.DataFrame:
    """The numbers of two leaderboards.

    Returns
    -------
    DataFrame
        ``model`` (baselines too, last), ``target``, ``kind``, ``metric``, the values ``a`` and ``b`` and the
        ``difference`` b - a; NaN where a run has none.

    Raises
    ------
    ConfigError
        The runs are of different phases.
    """
    _check_alike(a, b)
    sides = {"a": _melted(_named_alike(a, b)), "b": _melted(_named_alike(b, a))}
    keys = METRICS[:4]
    table = sides["a"].merge(sides["b"], on=keys, how="outer", suffixes=("_a", "_b"), sort=False)
    table = table.rename(columns={"value_a": "a", "value_b": "b"}).dropna(subset=["a", "b"], how="all")
    order = {name: place for place, name in enumerate(dict.fromkeys(pd.concat(sides.values())["metric"]))}
    table = table.sort_values(
        ["kind", "target", "model", "metric"],
        key=lambda column: column.map(order) if column.name == "metric" else column,
        ascending=[False, True, True, True],
        kind="stable",
        ignore_index=True,
    )
    return table.assign(difference=table["b"] - table["a"])[METRICS]


def _named_alike(run: FinishedRun, other: FinishedRun) -> pd.DataFrame:
    """Its leaderboard; a run of one scope says it behind the names, as one of several does, if the other is such."""
    scopes, board = run.manifest.get("scopes", ()), run.leaderboard
    if len(scopes) != 1 or len(other.manifest["scopes"]) == 1:
        return board
    return board.assign(model=board["model"].where(board["model"] == BUY_AND_HOLD, board["model"] + f" ({scopes[0]})"))


def _melted(board: pd.DataFrame) -> pd.DataFrame:
    keys = ["model", "target", "kind"]
    numbers = [name for name in board.select_dtypes("number") if name not in _NO_METRICS]
    names = {"score": board["score_name"], "loss": board["loss_name"]}  # a score is called by what it is
    parts = [
        board[keys].assign(metric=names.get(name, name), value=board[name].astype(float)).dropna(subset="metric")
        for name in numbers
    ]
    return pd.concat(parts, ignore_index=True)


def compare_sharpes(a: FinishedRun, b: FinishedRun) -> pd.DataFrame:
    """By how much the annual Sharpe ratio of each model differs, over the symbols and sessions that both runs tested.

    Returns
    -------
    DataFrame
        ``model, target, scope`` (empty for the core phase), the numbers of common ``symbols`` and ``sessions``, the
        ``difference`` b - a with its paired block-bootstrap interval ``low, high`` (95 %), and the ``reason`` where
        that is undefined. Targets without a money rule are left out.

    Raises
    ------
    ConfigError
        The runs are of different phases.
    """
    _check_alike(a, b)
    ours, theirs = ({key: rest for key, *rest in run.pools()} for run in (a, b))
    table = []
    for key in sorted(ours.keys() & theirs.keys()):
        (horizon, first), (other, second) = ours[key], theirs[key]
        first, second = (rows.dropna(subset="net_return") for rows in (first, second))
        if first.empty or second.empty:
            continue
        keys = [pd.MultiIndex.from_frame(rows[["symbol", "session"]]) for rows in (first, second)]
        first, second = first[keys[0].isin(keys[1])], second[keys[1].isin(keys[0])]
        net = [portfolio(rows, ()).set_index("session")["net_return"] for rows in (first, second)]
        both = pd.concat(net, axis=1, join="inner", keys="ab").dropna()
        row = dict.fromkeys(SHARPES, math.nan) | dict(
            zip(SHARPES, (*key, first["symbol"].nunique(), len(both)), strict=False)
        )
        if len(both) < 2:
            table.append(row | {"reason": "the runs tested no common sessions"})
            continue
        bars = len(first) / len(first[["symbol", "session"]].drop_duplicates())
        found = beats(
            both["b"],
            both["a"],
            "sharpe",
            block=default_block(len(both), max(horizon, other), bars),
            periods_per_year=sessions_per_year(both.index.to_numpy("datetime64[D]")),
        )
        row |= {"difference": found.point, "low": found.low, "high": found.high, "reason": found.reason or ""}
        table.append(row)
    return pd.DataFrame(table, columns=SHARPES)
