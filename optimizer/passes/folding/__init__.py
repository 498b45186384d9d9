"""What is computed once, absorbed by the operator before it, or has no part in the result: gone before calibration."""
