"""Walk-forward validation of any model on any target."""

from TRAINING.walkforward.engine import WalkForwardEngine
from TRAINING.walkforward.results import WalkForwardResults

__all__ = ["WalkForwardEngine", "WalkForwardResults"]
