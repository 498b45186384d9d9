"""The tools that are compared, ours among them, each behind ``studies.baselines.tool.Tool``."""
