"""An engine in a process of its own, whose crash is an error."""
