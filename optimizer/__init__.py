"""The way from an ONNX model to a bundle of proven engines.

from optimizer import optimize
result = optimize("model.onnx", precision="int8", data="calib/", targets=["cpu", "t4", "a100"])

``update``, ``verify``, ``compare`` and ``deploy`` are the other verbs that a pipeline calls.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optimizer.api import compare, deploy, optimize, update, verify
    from optimizer.result import Result

__all__ = ["Result", "compare", "deploy", "optimize", "update", "verify"]


def __getattr__(name: str) -> Any:
    """What ``__all__`` names, loaded when it is first asked for: the command begins before that (``cli.start``)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from optimizer import api

    value = globals()[name] = getattr(api, name)
    return value
