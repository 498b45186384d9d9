"""Where Q/DQ goes: the rules applied to a whole graph, and which formats a node can take."""
