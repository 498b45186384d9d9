"""Samples by index, in files and in memory, and running them through an engine in batches."""
