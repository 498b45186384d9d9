"""Q/DQ written into the graph, with the biases, blocks of weights and integer kernels that go with it."""
