"""How close an engine comes to FP32: output by output, and in a task metric."""
