"""Models, strategies, phases and reports for market bars."""

__version__ = "0.1.0"
