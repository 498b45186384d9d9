"""A model on disk: its files and the data beside it, read, written, and mapped."""
