"""The TensorRT backend: one adapter over `tensorrt` 8.5 to 11 and TensorRT-RTX."""
