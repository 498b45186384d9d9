"""Building TensorRT plans, each in a child process."""
