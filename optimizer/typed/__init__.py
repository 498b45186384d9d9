"""What a graph computes in: half precision where that holds, and the one way from a float graph to a typed one."""
