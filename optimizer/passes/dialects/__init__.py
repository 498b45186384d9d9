"""What other tools write, in one spelling: quantization as Q/DQ, number for number, their operators in ONNX's own."""
