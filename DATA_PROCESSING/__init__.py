"""Bars to features, labels and datasets. Row t of a feature uses bars up to t; a label says when it becomes known."""
