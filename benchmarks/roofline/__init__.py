"""Roofline: what bounds every layer of a model on a GPU that is not here, and what the whole model should reach on it.

All of it is prediction, never measurement; ``docs/roofline.md`` shows how far it was off NVIDIA's published results.
"""
