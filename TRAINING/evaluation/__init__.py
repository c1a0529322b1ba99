"""How predictions are judged: splits, metrics, money after costs, baselines and the test of what beats what."""
