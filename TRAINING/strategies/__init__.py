"""How models and targets are put together. Early stopping always sees the purged tail of the training window."""

from TRAINING.strategies.cascade import CascadeModel, CascadeStrategy
from TRAINING.strategies.multi_task import MultiTaskModel, MultiTaskStrategy
from TRAINING.strategies.single_task import SingleTaskStrategy

__all__ = ["CascadeModel", "CascadeStrategy", "MultiTaskModel", "MultiTaskStrategy", "SingleTaskStrategy"]
