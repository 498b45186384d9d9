"""Which configuration serves a model best, tried on the running server."""
