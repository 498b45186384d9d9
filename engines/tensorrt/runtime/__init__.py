"""Running TensorRT plans on a GPU."""
