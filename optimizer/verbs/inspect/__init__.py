"""``optimize inspect``: what is in a model, what it costs, what bounds it on a GPU."""
