"""The graphs that engines are built from: calibrated, typed, within the accuracy budget, each checked against FP32."""
