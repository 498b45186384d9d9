"""From a float graph to an integer one: where Q/DQ goes, with which scales, and what repairs the accuracy."""
