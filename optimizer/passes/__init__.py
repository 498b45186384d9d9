"""Graph passes: each a small class that changes an ``onnx_ir.Model`` in place and says what it did."""
