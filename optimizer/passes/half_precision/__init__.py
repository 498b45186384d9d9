"""A graph in half precision: which nodes stay FP32 and why, products scaled into its range, and the Casts between."""
