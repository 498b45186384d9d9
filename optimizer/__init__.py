"""The way from an ONNX model to a bundle of proven engines.

from optimizer import optimize
result = optimize("model.onnx", precision="int8", data="calib/", targets=["cpu", "t4", "a100"])

``verify``, ``compare`` and ``deploy`` are the other verbs that a pipeline calls.
"""

from optimizer.api import compare, deploy, optimize, verify
from optimizer.result import Result

__all__ = ["Result", "compare", "deploy", "optimize", "verify"]
