"""Leaderboards, plots and the single-file report: pure functions of frames."""
