"""Graphs cut open: tensors as outputs, stretches that run by themselves, the first wrong node."""
