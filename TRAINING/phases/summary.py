"""What a run's report says around the frames: settings, fingerprints and plain remarks."""

from __future__ import annotations

import pandas as pd

from TRAINING.evaluation.baselines import left_out
from TRAINING.phases.plan import Plan
from TRAINING.phases.results import Results
from TRAINING.reports.hero import hero_picture
from TRAINING.reports.html import render_report
from TRAINING.runs.manifest import environment

_SIGNALS = {
    "label": "y_will_peak and y_will_valley: a probability above the training base rate; fwd_ret and y_first_touch: "
    "the sign",
    "probability": "a probability above {upper:g}, or below {lower:g} for the opposite position",
}


def render(plan: Plan, results: Results) -> str:
    """The run's report as one HTML page."""
    return render_report(
        title=f"{plan.phase} · {plan.inputs.source}",
        meta=_settings(plan),
        notes=_notes(plan, results.units),
        leaderboard=results.leaderboard,
        units=results.units,
        returns=results.returns,
        symbol_returns=results.symbol_returns,
        importance=results.importance,
        curves=results.curves,
        calibration=results.calibration,
        quality=plan.inputs.quality,
        answers=results.answers,
    )


def draw(plan: Plan, results: Results) -> bytes:
    """The run in one picture (PNG): growth and drawdown of the best model's target, and Sharpe ratios."""
    first, last = plan.windows["test"]
    symbols = len({unit.symbol for unit in plan.todo})
    title = f"barzoo, phase {plan.phase}: {plan.inputs.source}, {symbols} symbols, {first} to {last}"
    return hero_picture(results.leaderboard, results.returns, title=title)


def _settings(plan: Plan) -> dict[str, str]:
    backtest, phases, windows = plan.settings["backtest"], plan.settings["phases"], plan.windows
    seeds = sorted({str(config["seed"]) for config in plan.models.values() if "seed" in config})
    packages = environment()["packages"]
    return {
        "source": f"{plan.inputs.source} ({plan.inputs.kind}, {len(plan.inputs.symbols)} symbols)",
        "test window": " to ".join(windows["test"]),
        "costs": f"{backtest['cost_bps']:g} bps a change of position by 1",
        "execution": _fill(backtest["execution_lag"]),
        "targets": ", ".join(plan.targets),
        "ranked by": phases["rank_by"],
        "training window": " to ".join(windows["train"]),
        "validation window": " to ".join(windows["validation"]) + " (early stopping)",
        "sessions": f"{len(plan.inputs.sessions):,}",
        "signals": _SIGNALS[backtest["rule"]].format(**backtest) + "; each held for the label's horizon",
        "intervals": f"stationary bootstrap, {phases['bootstrap_samples']:,} samples, {phases['confidence']:.0%}",
        "seed": ", ".join(seeds),
        "run": plan.run_id,
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }


def _fill(lag: int) -> str:
    return {0: "at the signal's own close", 1: "at the next close"}.get(lag, f"at the close {lag} bars later")


def _notes(plan: Plan, units: pd.DataFrame) -> list[str]:
    """What a careful reader would want to be told before the numbers."""
    notes = []
    for reason, group in units[units["status"] == "skipped"].groupby("reason"):
        symbols = list(dict.fromkeys(group["symbol"]))
        shown = ", ".join(symbols[:5]) + (f" and {len(symbols) - 5} more" if len(symbols) > 5 else "")
        notes.append(f"{shown} skipped: {reason}")
    notes += filter(None, [left_out(plan.inputs.features)])
    if plan.settings["backtest"]["execution_lag"] == 0:
        notes.append("execution_lag is 0: fills at the close that gave the signal, which nobody can trade")
    return notes
