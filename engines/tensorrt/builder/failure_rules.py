"""What TensorRT's messages mean: patterns, the kind of failure, and words a user can act on.

Seen from TensorRT-RTX 1.7 and read in the source of the ONNX parser; one row for one message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.errors import BuildFailure

UINT8_WARNING = "with UINT8 zero_point only on DLA"
UNKNOWN_TYPE = "Failed to convert ONNX dat"  # "date type" in TensorRT's own spelling


@dataclass(frozen=True)
class Rule:
    """A message pattern and what it means. Named groups of the pattern, and ``{op}``, may be used in the texts.

    A ``node`` group is the name the builder gives the operation, used where no parser message names a node;
    ``at_control_flow`` rules concern the graph's first If, Loop or Scan. Texts may also use ``{outputs}``, the node's
    outputs besides the first by their names in the ONNX standard, ``{odd}``, the type of an input, ``{half}`` and
    ``{types}``, which advise on ``--precision`` by what the graph is typed in, and ``{kernels}``, which says where
    kernels are missing (``advice``).
    """

    pattern: re.Pattern[str]
    failure: BuildFailure
    what: str
    expected: str = ""
    fix: str = ""
    at_control_flow: bool = False


def _rule(
    pattern: str, failure: BuildFailure, what: str, expected: str = "", fix: str = "", at_control_flow: bool = False
) -> Rule:
    return Rule(re.compile(pattern, re.DOTALL), failure, what, expected, fix, at_control_flow)


LEAVE_TO_CPU = "build for --target cpu, or replace the node by operators the target knows (`optimize inspect MODEL`)"
_TYPED = ("fp16", "int8")
_KERNELS = "install cuBLAS and cuDNN, whose kernels are missing here (pip install 'enginewright[tensorrt8]'), "
_NEEDS_GPU = "build on a machine with the GPU: pip install 'enginewright[tensorrt]'"


def advice(precision: str, lacks_kernels: bool = False) -> dict[str, str]:
    """What to change where a GPU lacks a type, where the graph computes in ``precision`` (empty: not known), or a
    kernel, where the library is without those of other libraries.
    """
    kernels = {"kernels": _KERNELS if lacks_kernels else ""}
    if precision in _TYPED:
        newer = "`optimize explain` says why the node is not in float16; build for a newer --target, or for cpu"
        return kernels | {"half": newer, "types": "start from the float32 model, or build for a newer --target"}
    return kernels | {
        "half": "--precision fp16 (or int8, which keeps the rest in float16)",
        "types": "--precision int8 or fp16, or a newer --target",
    }


PARSER_RULES = (
    _rule(
        r"checkCalculationStatusSanity.*isInFlight",
        BuildFailure.SHAPE,
        "a size here is made of values that are fed when the model runs, which TensorRT does not follow",
        fix="make those values constants of the model, or build for --target cpu",
    ),
    _rule(
        r"Failed to import initializer: (?P<tensor>[^\n]+)",
        BuildFailure.UNSUPPORTED_TYPE,
        "TensorRT does not read constants of the type of '{tensor}'",
        fix=LEAVE_TO_CPU,
    ),
    _rule(
        r"Plugin not found",
        BuildFailure.UNSUPPORTED_OP,
        "TensorRT has neither an importer nor a plugin for operator {op}",
        fix=LEAVE_TO_CPU,
    ),
    _rule(
        r"[Pp]lugin (?:creator version \d+ )?was not found|[Ff]ailed to load \w+ plugin",
        BuildFailure.UNSUPPORTED_OP,
        "TensorRT runs {op} as a plugin, and this library has none",
        fix=LEAVE_TO_CPU,
    ),
    _rule(
        r"doesn't support mo[dr]e than 1 outputs|only supports \w+ nodes with one output",
        BuildFailure.UNSUPPORTED_OP,
        "TensorRT computes only the first output of {op}, and the model uses {outputs}",
        fix="do without {outputs} in the model, or build for --target cpu",
    ),
    _rule(
        r"does not support training_mode == 1",
        BuildFailure.UNSUPPORTED_OP,
        "{op} is in training mode (it normalizes by each batch's own statistics), which TensorRT does not support",
        expected="a model exported for inference",
        fix="export it after model.eval(), or build for --target cpu",
    ),
    _rule(
        UNKNOWN_TYPE,
        BuildFailure.UNSUPPORTED_TYPE,
        "a tensor is {odd} that TensorRT does not take",
        expected="float, float16, bfloat16, int32, int64, int8, uint8 or bool tensors",
        fix="change the type in the model, cut that part off, or build for --target cpu",
    ),
    _rule(
        r"Non-zero zero point is not supported",
        BuildFailure.UNSUPPORTED_TYPE,
        "{op} has a non-zero zero point",
        expected="symmetric int8: zero point 0",
        fix="start from the float model and let --precision int8 place the Q/DQ nodes",
    ),
    _rule(
        r"input has type Int32 but must have type FP8",
        BuildFailure.UNSUPPORTED_TYPE,
        "{op} reads an int32 tensor (a quantized bias)",
        expected="biases in float",
        fix="start from the float model and let --precision int8 place the Q/DQ nodes",
    ),
    _rule(
        r"must (?:be of|have) same (?:input )?types?\W.*?(?P<left>Half|Float|BFloat16|Int\d+|Bool|Double)\W.*?"
        r"(?P<right>Half|Float|BFloat16|Int\d+|Bool|Double)\b",
        BuildFailure.UNSUPPORTED_TYPE,
        "{op} mixes the types {left} and {right}",
        expected="one type: TensorRT builds exactly what the graph states and never casts on its own",
        fix="insert a Cast before the node, or start from the float32 model",
    ),
    _rule(
        r"Kernel weight dimension failed to broadcast to input",
        BuildFailure.SHAPE,
        "{op}'s weight does not fit the channels of its input",
        expected="weight [out, in/group, ...] with in = the input's axis 1",
    ),
    _rule(
        r"broadcast|[Dd]imensions? (?:mismatch|must|not)|incompatible dimensions|volume mismatch",
        BuildFailure.SHAPE,
        "{op} gets tensors of shapes that do not fit: {text}",
    ),
    _rule(
        r"Failed to parse the ONNX model|ParseFromCodedStream",
        BuildFailure.OTHER,
        "not an ONNX model",
        fix="check the file with `optimize inspect MODEL`",
    ),
)

BUILDER_RULES = (
    _rule(
        r"Cannot compile operation '(?P<node>[^']*)' for Turing \(SM75\): FP32 GEMM is not supported",
        BuildFailure.UNSUPPORTED_TYPE,
        "TensorRT-RTX has no FP32 matrix product on SM75 (T4)",
        expected="float16 matrix products",
        fix="{half}",
    ),
    _rule(
        r"Cannot compile operation '(?P<node>[^']*)' for (?P<gpu>Turing[^:]*): FP32 (?P<why>[^.\n]+) is not supported",
        BuildFailure.UNSUPPORTED_TYPE,
        "{gpu} has no FP32 {why} in TensorRT-RTX",
        expected="float16",
        fix="{half}",
    ),
    _rule(
        r"Assertion tScope\.getType\(\) != ScopeType::kUNDEFINED",
        BuildFailure.UNSUPPORTED_OP,
        "TensorRT cannot build this graph's control flow (If, Loop or Scan)",
        expected="a graph with no branch that depends on an input's value",
        fix="make the deciding input a constant in the model, or build for --target cpu",
        at_control_flow=True,
    ),
    _rule(
        r"Cannot compile operation '(?P<node>[^']*)' for (?P<gpu>[^:]+): (?P<why>[^.\n]+)",
        BuildFailure.UNSUPPORTED_TYPE,
        "not possible on {gpu}: {why}",
        fix="choose another --precision or --target",
    ),
    _rule(
        r"Cannot compile for target\(s\) (?P<gpu>[\w, ]+?),? because the model contains HW-specific datatypes: "
        r"(?P<type>[^.\n]+)",
        BuildFailure.UNSUPPORTED_TYPE,
        "{gpu} has no {type}",
        expected="a type every named target has",
        fix="{types}",
    ),
    _rule(
        r"(?P<node>[^\s(]+) has no runners that implement it",
        BuildFailure.UNSUPPORTED_OP,
        "this TensorRT has no kernel for {op}, though its parser takes it",
        fix="cut the node off the model and run it on the CPU, or build for --target cpu",
    ),
    _rule(
        r"composite_op->is_decomposable\(\)\) failed\. (?P<why>[^.\n]+)",
        BuildFailure.UNSUPPORTED_OP,
        "{why}",
        fix="export attention as MatMul, Softmax and MatMul (opset 22 or older), or build for --target cpu",
    ),
    _rule(
        r"Strided & Dilated Deconv",
        BuildFailure.UNSUPPORTED_OP,
        "TensorRT has no ConvTranspose that is both strided and dilated",
        fix=LEAVE_TO_CPU,
    ),
    _rule(
        r"Network has dynamic or shape inputs, but no optimization profile",
        BuildFailure.SHAPE,
        "the model has inputs of dynamic shape, or whose values are sizes, and no bounds were given for them",
        fix="--shape NAME=MIN:OPT:MAX, or --data to take the shapes from; sizes as constants of the model",
    ),
    _rule(
        r"Dynamic input tensor (?P<tensor>.+?) is missing dimensions in profile",
        BuildFailure.SHAPE,
        "input '{tensor}' is dynamic and no shapes were given for it",
        fix="--shape {tensor}=MIN:OPT:MAX",
    ),
    _rule(
        r"Dimension mismatch for tensor (?P<tensor>.+?) and profile.*?(?P<why>At dimension axis.*?has -?\d+)",
        BuildFailure.SHAPE,
        "the shapes given for input '{tensor}' do not fit: {why}",
        fix="--shape {tensor}=MIN:OPT:MAX that fits the model's own dimensions",
    ),
    _rule(
        r"Unable to load library: (?P<library>libnvinfer_lean[\w.]*)",
        BuildFailure.MISSING_LIBRARY,
        "a version-compatible plan needs {library}, which is not installed",
        fix="drop the option version_compatible, or install the TensorRT lean runtime",
    ),
    _rule(
        r"Unable to load library: (?P<library>lib(?:cublas|cudnn)[\w.]*)",
        BuildFailure.MISSING_LIBRARY,
        "TensorRT takes kernels from {library}, which is not installed",
        fix="pip install 'enginewright[tensorrt8]' (Python 3.10), which brings it",
    ),
    _rule(
        r"graph_jit\.cpp:\d+: CHECK\(status == CUDA_SUCCESS\)|requires? a CUDA device",
        BuildFailure.OTHER,
        "this kind of plan (refit, strip_plan) cannot be built without a GPU",
        fix=_NEEDS_GPU,
    ),
    _rule(
        r"Parameter check failed, condition: [^\n]*\)\. (?P<why>[A-Z][^.\n]+)",
        BuildFailure.OTHER,
        "{why}",
        expected="builder options that the library takes together",
        fix="leave out one of the options (--builder-option, --shape)",
    ),
    _rule(
        r"BuildCanceled|Build canceled",
        BuildFailure.CANCELLED,
        "the build was cancelled",
    ),
    _rule(
        r"OutOfMemory|[Oo]ut of memory|bad_alloc|insufficient memory",
        BuildFailure.OUT_OF_MEMORY,
        "the builder ran out of memory",
        fix="smaller maximum shapes (--shape), a lower workspace_mb option, or a machine with more memory",
    ),
    _rule(
        r"empty runtime-fusion MVMF",
        BuildFailure.UNSUPPORTED_OP,
        "TensorRT-RTX has no kernel on this GPU for a float16 product whose activation is quantized behind it",
        expected="(seen on SM75) products of a transformer's feed-forward part all in int8",
        fix="--without fallback, which leaves no product in float16 for its error's sake",
    ),
    _rule(
        r"filterQDQFormats|candidateRequirements",
        BuildFailure.UNSUPPORTED_OP,
        "this TensorRT has no INT8 kernel for a layer, which it does not name, with the types around it",
        expected="(seen on 8.5.3.1 without cuDNN) convolutions in INT8 whose results are quantized, or that have many "
        "channels",
        fix="{kernels}a newer TensorRT, or --precision fp16",
    ),
    _rule(
        r"Could not find any implementation for node (?P<node>\{.+?\}|.+?)(?:\.?\)?\s*(?:\n|$)|\.\s|\s+due| \[)",
        BuildFailure.UNSUPPORTED_OP,
        "no kernel of this GPU runs the node at these shapes and types",
        fix="{kernels}more workspace (option workspace_mb), another --precision, or smaller maximum shapes",
    ),
)
