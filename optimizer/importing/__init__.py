"""Import: from any ONNX file to a checked ``onnx_ir.Model`` whose weights stay mapped on disk."""

from __future__ import annotations

from optimizer.importing.load import ImportedModel, import_model

__all__ = ["ImportedModel", "import_model"]
