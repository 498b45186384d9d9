"""The ONNX parser of TensorRT 8.5 and 8.6: what it takes, and what it would read as something else."""
