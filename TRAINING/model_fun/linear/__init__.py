"""Linear models: online, and of rewarded positions."""
