"""How models and targets are put together. Early stopping always sees the purged tail of the training window."""

from TRAINING.strategies.single_task import SingleTaskStrategy

__all__ = ["SingleTaskStrategy"]
