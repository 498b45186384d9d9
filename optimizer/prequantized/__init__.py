"""Models that come quantized: recognised, spelt in one form, repaired for each runtime, verified against the source.

The scales and codes of the source stay what they are: training may have found them.
"""
