"""ONNX Runtime: the engine for CPUs, its build, and what its kernels compute exactly."""
