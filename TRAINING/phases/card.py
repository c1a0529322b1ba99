"""The card of a trained model: what it is, what it learnt from, how well it did, and where it may fail.

After Mitchell et al. 2019, "Model cards for model reporting": in a page of Markdown beside the model's files.
"""

from __future__ import annotations

from CONFIG.config_loader import describe_model

_SHOWN = ("auc", "log_loss", "brier", "accuracy", "rank_ic", "rmse", "r2", "sharpe", "annual_return", "max_drawdown",
          "hit_rate", "turnover", "exposure")  # fmt: skip
_FEW_ROWS = 1000
_STRONGEST = 10  # features that are named


def model_card(record: dict, source: str) -> str:
    """The card as Markdown.

    Parameters
    ----------
    record : dict
        A unit's manifest, see `TRAINING.phases.unit_result.UnitResult`.
    source : str
        Where its bars came from.
    """
    windows, packages = record["windows"], record["environment"]["packages"]
    scores = record["scores"][record["model"]]
    shown = [name for name in _SHOWN if name in scores] + sorted(set(scores) - set(_SHOWN))
    lines = [
        f"# {record['model']} on {record['target']} of {record['symbol']}",
        "",
        describe_model(record["model"]).about,
        "",
        "## What it learnt from",
        "",
        *_table(
            ("", "sessions", "rows"),
            [(part, " to ".join(windows[part]), f"{record[f'{part}_rows']:,}") for part in windows],
        ),
        "",
        f"Source: {source}, {len(record['features'])} features, a {record['task']} target that looks "
        f"{record['horizon']} bars ahead. Training rows whose label reaches into a later window were left out; the "
        "validation rows ended training early, where the model can.",
        "",
        "## How well it did",
        "",
        "On the test rows, which it did not see, after costs; `report.html` compares it with the baselines.",
        "",
        *_table(("score", "value"), [(name, f"{scores[name]:.4g}") for name in shown]),
        *(
            ["", "Strongest features: " + ", ".join(_strongest(record["importance"])) + "."]
            if record["importance"]
            else []
        ),
        "",
        "## Limits",
        "",
        *(f"- {limit}" for limit in _limits(record, scores)),
        "",
        "## Made with",
        "",
        f"Table `{record['table'][:16]}`, identity `{record['identity'][:16]}`, "
        + ", ".join(f"{name} {version}" for name, version in packages.items())
        + ". `manifest.json` has the whole configuration.",
    ]
    return "\n".join(lines) + "\n"


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ("---",) * len(heads), *rows)]


def _strongest(importance: dict[str, float]) -> list[str]:
    ranked = sorted(importance.items(), key=lambda item: (-item[1], item[0]))
    return [f"{name} ({share:.1%})" for name, share in ranked[:_STRONGEST] if share > 0]


def _limits(record: dict, scores: dict[str, float]) -> list[str]:
    """Sentences that follow from what is known of this model."""
    costs, limits = record["backtest"], []
    if record["train_rows"] < _FEW_ROWS:
        limits.append(
            f"It learnt from {record['train_rows']:,} rows: of few kinds of market, and its scores are noisy."
        )
    first, last = record["windows"]["test"]
    limits.append(f"It was tested once, from {first} to {last}; a Sharpe ratio of one year is uncertain by about 2.")
    limits.append(f"It knows {record['symbol']} only, and the prices of what still trades: survivors flatter any rule.")
    lag = costs["execution_lag"]
    if "sharpe" in scores:
        limits.append(
            f"Its money assumes {costs['cost_bps']:g} basis points for a change of position by 1, and a fill "
            f"{lag} bar{'' if lag == 1 else 's'} after the signal, of any size: no impact, borrowing or taxes."
        )
    if any(name.startswith("latent_") for name in record["features"]):
        limits.append(
            "Some features are latents of another model: it must be kept, and applied, together with that one."
        )
    return limits + [f"{note[:1].upper()}{note[1:]}." for note in record["notes"]]
