"""Which model runs on which slice of a GPU (Multi-Instance GPU)."""
