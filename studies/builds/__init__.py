"""What engine builds cost and what comes out, on networks everybody knows: ``python -m studies.builds --help``."""
