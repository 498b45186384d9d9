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

        _preload(onnxruntime, provider)
        try:
            super().__init__(model, provider=provider)
        except (EngineError, ValueError, RuntimeError) as error:
            reason = error.what if isinstance(error, EngineError) else str(error).strip()
            raise EngineError(f"{provider} did not start: {reason}", where=str(model)) from error
        if self._session.get_providers()[0] != provider:
            raise EngineError(f"{provider} did not start: ONNX Runtime fell back to the CPU", where=str(model))


def _preload(onnxruntime: Any, provider: str) -> None:
    """Load the CUDA and cuDNN that pip installed, which the GPU providers do not find by themselves (from 1.21 on)."""
    if hasattr(onnxruntime, "preload_dlls") and available(provider):
        with redirect_stdout(sys.stderr):  # it prints what it does not find
            onnxruntime.preload_dlls()
