"""Processes of ours: how a module runs in a child, and how children end."""
