"""How good and how fast an engine is: accuracy against FP32, latency, MLPerf LoadGen, the report."""
