"""What a change to a graph does to its outputs: noise, the better of several variants, rewrites proved exact."""
