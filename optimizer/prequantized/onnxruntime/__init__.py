"""The form of a quantized source that ONNX Runtime's integer kernels take."""
