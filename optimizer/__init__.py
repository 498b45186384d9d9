"""The way from an ONNX model to a bundle of proven engines.

from optimizer import optimize
result = optimize("model.onnx", precision="int8", data="calib/", targets=["cpu", "t4", "a100"])
"""

from optimizer.api import optimize
from optimizer.result import Result

__all__ = ["Result", "optimize"]
