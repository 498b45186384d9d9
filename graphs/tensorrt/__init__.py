"""What TensorRT takes of a graph, and what it leaves unfused."""
