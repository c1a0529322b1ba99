"""Groups of features that say the same, and what a model loses without a group."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

ALIKE = 0.7  # mean absolute rank correlation between two groups that are joined to one
REPEATS = 5  # permutations of each group


def cluster_features(X: pd.DataFrame, alike: float = ALIKE) -> pd.Series:
    """Group features by the size of their rank correlations: hierarchical clustering with average linkage.

    Parameters
    ----------
    X : DataFrame
        (n, features), NaN where missing: such a row counts as the middle of that feature.
    alike : float
        Two groups are joined while the mean absolute Spearman correlation between them is at least this.

    Returns
    -------
    Series
        (features,) the number of each feature's group, from 1 in the order of columns; one that does not vary is alone.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    if X.shape[1] == 1:
        return pd.Series(1, X.columns)
    ranks = X.rank(pct=True).fillna(0.5).to_numpy(float)
    ranks -= ranks.mean(axis=0)
    size = np.sqrt((ranks**2).sum(axis=0))
    varies = size > 1e-9
    ranks = np.divide(ranks, size, out=np.zeros_like(ranks), where=varies)
    distance = 1 - np.clip(np.abs(ranks.T @ ranks), 0, 1)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform((distance + distance.T) / 2, checks=False), method="average")
    found = fcluster(tree, 1 - alike + 1e-12, criterion="distance")
    return pd.Series(pd.factorize(found)[0] + 1, X.columns)


def permutation_losses(
    loss: Callable[[pd.DataFrame], float], X: pd.DataFrame, rows: np.ndarray, groups: pd.Series, seed: int = 0
) -> pd.Series:
    """What a loss gains when a group's features are permuted together among rows, the mean of five permutations.

    Permuted alone, each of two features that say the same would seem useless, since the other still says it.

    Parameters
    ----------
    loss : callable
        The mean loss on ``rows`` of a frame like X.
    X : DataFrame
    rows : (n,) int
        Positions of held-out rows.
    groups : Series
        (features,) the group of each column.
    seed : int

    Returns
    -------
    Series
        By group; above 0 for one that helps.
    """
    random, usual, added = np.random.default_rng(seed), loss(X), {}
    orders = [random.permutation(rows) for _ in range(REPEATS)]  # the same for all groups, which makes them comparable
    table = X.to_numpy()
    for group in groups.unique():
        columns = np.flatnonzero(groups.to_numpy() == group)
        changed = []
        for order in orders:
            mixed = table.copy()
            mixed[np.ix_(rows, columns)] = table[np.ix_(order, columns)]
            changed.append(loss(pd.DataFrame(mixed, X.index, X.columns)))
        added[group] = float(np.mean(changed)) - usual
    return pd.Series(added)
