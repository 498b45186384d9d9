"""The way from an ONNX model to a bundle of proven engines."""
