"""What engine builds cost and what comes out, on networks everybody knows: ``python -m benchmarks.engines --help``."""
