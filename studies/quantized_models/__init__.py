"""Models that come quantized, in the dialects of their tools: taken, repaired, judged (docs/quantized-models.md)."""
