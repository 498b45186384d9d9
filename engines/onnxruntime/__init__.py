"""ONNX Runtime: the engine for CPUs, its build, and what its kernels compute exactly.

Its own builds from 1.32 on report what they run to their maker unless told otherwise before they are loaded, and keep
files for that in HOME and the temporary folder. Models are their owners' business: here it is off, unless the user has
set ``ORT_DISABLE_TELEMETRY``.
"""

import os

if __name__ == "onnxruntime":  # the folder above is on the module path, and hides the library of this name
    raise ImportError("this is engines/onnxruntime, not ONNX Runtime: start Python from another folder than engines/")

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
