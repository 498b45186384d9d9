"""What a change to a graph does to its outputs: noise, the best of several, rewrites verified to be exact."""
