"""The lowest room: ONNX graphs as files and as structure, and the errors that every room raises."""
