"""What other tools write for quantization, spelt as Q/DQ, number for number."""
