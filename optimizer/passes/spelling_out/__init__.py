"""Operators written as others that runtimes take and quantization reaches, by ONNX's own definition or one of ours."""
