"""Changing a graph: nodes and constants under free names, floats in another type."""
