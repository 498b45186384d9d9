"""The TensorRT backend: one adapter over `tensorrt` >= 10.12 / 11 and TensorRT-RTX."""
