"""What a plan will cost, judged by training one unit of each model; nothing is written."""

from __future__ import annotations

import time

from CONFIG.errors import DataError
from TRAINING.phases.plan import BASELINES, Plan
from TRAINING.phases.windows import make_windows
from TRAINING.strategies import SingleTaskStrategy

# The process with its libraries, and copies of a table that a fit holds (float64 X, bins, gradients).
_PROCESS_MB = 350
_COPIES = 6


def estimate(plan: Plan, jobs: int) -> dict:
    """Seconds and memory of a plan.

    Parameters
    ----------
    plan : Plan
    jobs : int
        Models trained at once.

    Returns
    -------
    dict
        ``seconds``, ``memory_mb`` and ``probe``, the symbol whose units were trained to judge by.
    """
    units = [unit for unit in plan.todo if unit.model != BASELINES]
    if not units:
        return {"seconds": 0.0, "memory_mb": _PROCESS_MB, "probe": "nothing, as nothing is left to train"}
    probe = sorted(units, key=lambda unit: (unit.rows[0], unit.symbol))[len(units) // 2]
    table = plan.inputs.table(probe.symbol, None)
    seconds = 0.0
    try:
        data = make_windows(probe, plan, table)
    except DataError:  # its target has no labels; the run will say so
        return {
            "seconds": float("nan"),
            "memory_mb": _PROCESS_MB,
            "probe": f"nothing: {probe.symbol} cannot be trained",
        }
    for model, config in plan.models.items():
        started = time.perf_counter()
        SingleTaskStrategy(model, config).train_many([(data.train, data.validation)])
        rows = sum(unit.rows[0] for unit in units if unit.model == model)
        seconds += (time.perf_counter() - started) * rows / probe.rows[0]
    panel = (
        sum(bars.memory_usage(index=False).sum() for bars in plan.inputs.panel.bars.values())
        if plan.inputs.panel
        else 0
    )
    memory = (panel + table.memory_usage(index=False).sum() * jobs * _COPIES) / 2**20
    return {"seconds": round(seconds / jobs, 1), "memory_mb": round(_PROCESS_MB + memory), "probe": probe.symbol}
