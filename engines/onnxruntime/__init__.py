"""ONNX Runtime: the engine for CPUs, its build, and what its kernels compute exactly."""

if __name__ == "onnxruntime":  # the folder above is on the module path, and hides the library of this name
    raise ImportError("this is engines/onnxruntime, not ONNX Runtime: start Python from another folder than engines/")
