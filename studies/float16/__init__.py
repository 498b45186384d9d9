"""Models whose numbers leave float16's range, and what becomes of them."""
