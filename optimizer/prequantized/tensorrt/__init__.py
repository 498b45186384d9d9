"""The form of a quantized source that TensorRT takes and fuses: each file one repair."""
