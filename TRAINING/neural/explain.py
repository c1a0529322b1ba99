"""Which features a net's answers come from."""

from __future__ import annotations

import numpy as np
import torch

from TRAINING.neural.nets import Net, as_tensor

_STEPS = 16


def integrated_gradients(net: Net, rows: np.ndarray) -> np.ndarray:
    """Mean absolute share of each feature in each head's answers, along the way from the training median to the rows.

    Sundararajan, Taly and Yan 2017, "Axiomatic Attribution for Deep Networks", by the midpoint rule over 16 steps. An
    indicator of missing values counts for its feature.

    Parameters
    ----------
    net : Net
        Of a table of features, or of windows of it.
    rows : ndarray
        (n, features), or (n, window, features) for a net on windows, with NaN where missing; a few hundred do.

    Returns
    -------
    ndarray
        (heads, features), not negative.
    """
    net.eval()
    with torch.no_grad():
        z = net.standardise(as_tensor(rows))
    shares = []
    for head in range(net.heads.out_features):
        total = torch.zeros_like(z)
        for step in range(_STEPS):
            point = (z * ((step + 0.5) / _STEPS)).requires_grad_()
            (gradient,) = torch.autograd.grad(net.heads(net.trunk(point))[:, head].sum(), point)
            total += gradient
        mean = (total * z / _STEPS).abs().flatten(0, -2).mean(0).double()
        features = len(net.standardise.scale)
        share = mean[:features]
        shares.append(share.index_add(0, net.standardise.flagged, mean[features:]).numpy())
    return np.stack(shares)
