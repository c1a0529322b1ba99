"""Unlike models of one target, mixed."""
