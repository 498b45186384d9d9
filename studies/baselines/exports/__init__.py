"""From the weights of published packages, or trained here, to the ONNX files of the seven models."""
