"""The operators that TensorRT 8.5's ONNX parser takes, and what is fixed in all of them.

Source: onnx/onnx-tensorrt, branch release/8.5-GA, ``docs/operators.md`` ("TensorRT 8.5 supports operators up to Opset
17"), rows marked ``Y``. 8.6 takes GroupNormalization, LayerNormalization and IsInf as well: what both take is written.
"""

from __future__ import annotations

import onnx_ir as ir

OPSET = 17
"""The newest opset that the parser knows. It does not refuse a newer one: it reads it by the rules of this one."""
IR_VERSION = 8
"""Of files with that opset, and of what was current when 8.5 came out."""
LARGEST_RANK = 8
"""``nvinfer1::Dims::MAX_DIMS``."""
LARGEST_K = 3840
"""``ITopKLayer``: the most elements it finds (TensorRT 8.5 developer guide, layer TopK)."""
SUPPORTED = frozenset(
    {
        *("Abs", "Acos", "Acosh", "Add", "And", "ArgMax", "ArgMin", "Asin", "Asinh", "Atan", "Atanh", "AveragePool"),
        *("BatchNormalization", "Cast", "Ceil", "Celu", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv"),
        *("ConvTranspose", "Cos", "Cosh", "CumSum", "DepthToSpace", "DequantizeLinear", "Div", "Dropout", "Einsum"),
        *("Elu", "Equal", "Erf", "Exp", "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements"),
        *("GatherND", "Gemm", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "Greater", "GreaterOrEqual"),
        *("GridSample", "GRU", "HardSwish", "HardSigmoid", "Identity", "If", "InstanceNormalization", "IsNaN"),
        *("LeakyRelu", "Less", "LessOrEqual", "Log", "LogSoftmax", "Loop", "LRN", "LSTM", "LpNormalization", "LpPool"),
        *("MatMul", "Max", "MaxPool", "Mean", "MeanVarianceNormalization", "Min", "Mod", "Mul", "Neg"),
        *("NonMaxSuppression", "NonZero", "Not", "OneHot", "Or", "Pad", "Pow", "PRelu", "QuantizeLinear"),
        *("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Range", "Reciprocal", "ReduceL1"),
        *("ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
        *("ReduceSum", "ReduceSumSquare", "Relu", "Reshape", "Resize", "ReverseSequence", "RNN", "RoiAlign", "Round"),
        *("Scan", "ScatterElements", "ScatterND", "Selu", "Shape", "Shrink", "Sigmoid", "Sign", "Sin", "Sinh", "Size"),
        *("Slice", "Softmax", "Softplus", "Softsign", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tan"),
        *("Tanh", "ThresholdedRelu", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor"),
    }
)
"""ONNX's own operators among them, without those that ended before opset 17 (Scatter, Upsample) and Caffe2's."""
REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
    *("ReduceSum", "ReduceSumSquare"),
)
DTYPES = frozenset(
    {
        *(ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.INT8, ir.DataType.INT32),
        *(ir.DataType.INT64, ir.DataType.BOOL),
    }
)
"""Element types that the parser has a type for (``convertDtype``). INT64 becomes INT32 and DOUBLE becomes FLOAT in all
of the network; UINT8 is there at its inputs and outputs alone."""
