"""The form of a typed graph that TensorRT 8 reads right: opset 17, FP32 with Q/DQ, precisions beside the graph."""
