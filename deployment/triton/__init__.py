"""A Triton model repository: written from a bundle, checked and tuned on a running server."""
