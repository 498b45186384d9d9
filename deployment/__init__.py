"""How an engine reaches its users: Triton model repositories and other serving layouts."""
