"""Nets and the one engine that trains them: nets, modules, data, checkpoints, fit, in this order."""
