"""Weights stored as codes by themselves or in blocks: scaled, clipped and rounded for the data they meet."""
