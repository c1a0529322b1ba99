"""Learning curves, configuration and scores of finished units, for TensorBoard and MLflow."""

from __future__ import annotations

from pathlib import Path

from TRAINING.phases.unit_result import UnitResult


def track(result: UnitResult, config: dict, names: list[str], folder: Path) -> None:
    """Tell each logger of a unit that was trained, under the name ``MODEL/TARGET/SYMBOL``.

    Curves are called ``METRIC/PART``, one point per round, and scores on the test window ``test/SCORE``.
    """
    from TRAINING.neural.loggers import make_logger

    unit = result.unit
    curves = {
        f"{metric}/{part}": values for part, metrics in result.history.items() for metric, values in metrics.items()
    }
    rounds = max(map(len, curves.values()), default=0)
    scores = {f"test/{name}": value for name, value in result.record["scores"][unit.model].items()}
    for name in names:
        logger = make_logger(name, folder, f"{unit.model}/{unit.target}/{unit.symbol}")
        logger.log_hyperparams({**config, "target": unit.target, "symbol": unit.symbol})
        for number in range(rounds):
            point = {curve: values[number] for curve, values in curves.items() if number < len(values)}
            logger.log_metrics(point, number)
        logger.log_metrics(scores, rounds)
        logger.finalize("success")
