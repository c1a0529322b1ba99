"""Gradient-boosted trees: of one value, of quantiles, of a distribution."""
