"""One module per way of choosing a quantization range from a histogram."""
