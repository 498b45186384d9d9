"""How fast an engine is, and how far the figure can be trusted."""
