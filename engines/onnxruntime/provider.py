"""ONNX Runtime on one of its GPU providers, with nothing falling back silently to the CPU for the session."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from engines.errors import EngineError
from engines.onnxruntime.engine import OnnxRuntimeEngine

CUDA = "CUDAExecutionProvider"
OPTION = "provider"
"""Under which an engine's manifest names its provider; one without is for the CPU."""


def available(provider: str = CUDA) -> bool:
    """Whether the installed ONNX Runtime has it (the package onnxruntime-gpu); nothing of CUDA is loaded."""
    import onnxruntime

    return provider in onnxruntime.get_available_providers()


class ProviderEngine(OnnxRuntimeEngine):
    """``model`` on ``provider``. Raises ``EngineError`` where that does not start."""

    def __init__(self, model: Path, provider: str) -> None:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

        _preload(onnxruntime, provider)
        super().__init__(model)  # inputs, outputs and their checks; its CPU session is replaced
        options: Any = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            # without enable_fallback=0 it prints why the provider did not start, and goes on with the CPU
            session: Any = onnxruntime.InferenceSession(str(model), options, providers=[provider], enable_fallback=0)
        except (ort_state.EPFail, ort_state.Fail, ort_state.RuntimeException, ValueError, RuntimeError) as error:
            raise EngineError(f"{provider} did not start: {str(error).strip()}", where=str(model)) from error
        if session.get_providers()[0] != provider:
            raise EngineError(f"{provider} did not start: ONNX Runtime fell back to the CPU", where=str(model))
        self._session = session


def _preload(onnxruntime: Any, provider: str) -> None:
    """Load the CUDA and cuDNN that pip installed, which the GPU providers do not find by themselves (from 1.21 on)."""
    if hasattr(onnxruntime, "preload_dlls") and available(provider):
        with redirect_stdout(sys.stderr):  # it prints what it does not find
            onnxruntime.preload_dlls()
