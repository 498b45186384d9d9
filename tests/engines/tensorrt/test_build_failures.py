"""Messages seen from TensorRT, and what a user is told. The builds that provoke them are in test_rtx_builds.py."""

from __future__ import annotations

import pytest

from engines.errors import BuildFailure
from engines.tensorrt.builder.failures import ParserMessage, build_failure, clean, parse_failure, spoken

NO_DRIVER = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient for CUDA runtime "
    "version))"
)


def test_the_missing_driver_is_never_the_reason() -> None:
    text = f"{NO_DRIVER}\nITensor::getDimensions: Error Code 4: API Usage Error (fc: odd. In check at /_src/a/b.cpp:40)"
    assert clean(text) == "fc: odd."
    error = parse_failure([ParserMessage("INVALID_NODE", "fc", "MatMul", text)])
    assert (error.failure, error.where, error.what) == (BuildFailure.OTHER, "fc", "fc: odd")
    assert "cudaError" not in str(error)


def test_a_missing_cublas_is_named_with_what_brings_it() -> None:
    """What 8.5 says without it, unless it is told to keep to its own kernels."""
    error = build_failure(["1: [dl.cpp::load::1] Error Code 1: Unable to load library: libcublas.so.11"], {})
    assert error.failure is BuildFailure.MISSING_LIBRARY
    assert "libcublas.so.11" in error.what and "enginewright[tensorrt8]" in error.fix


def test_types_that_differ_are_both_named() -> None:
    text = (
        "Invalid Node - add0\nITensor::getDimensions: Error Code 4: API Usage Error (add0: ElementWiseOperation SUM "
        f"must have same input types. But they are of types Half and Float. In check at /_src/e.cpp:40)\n{NO_DRIVER}"
    )
    error = parse_failure([ParserMessage("INVALID_NODE", "add0", "Add", text)])
    assert error.what == "Add mixes the types Half and Float"


def test_a_constant_of_a_type_without_importer() -> None:
    text = (
        "In node -1 with name:  and operator:  (importInitializers): UNSUPPORTED_NODE: Assertion failed: "
        "ctx->getWeightsContext().convertOnnxWeights(initializer, &weights): Failed to import initializer: zero"
    )
    error = parse_failure([ParserMessage("UNSUPPORTED_NODE", "", "", text)])
    assert error.failure is BuildFailure.UNSUPPORTED_TYPE and "type of 'zero'" in error.what


def test_an_operator_without_importer() -> None:
    error = parse_failure([ParserMessage("UNSUPPORTED_NODE", "det0", "Det", "false")])
    assert (error.failure, error.where) == (BuildFailure.UNSUPPORTED_OP, "det0")
    assert "Det" in error.what


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '(dilations[i] == 1) && "This version of TensorRT does not support dilations other than 1."',
            "TensorRT does not support dilations other than 1",
        ),
        (
            'Assertion failed: mode == "none": ScatterND with reduction is not supported.',
            "ScatterND with reduction is not supported",
        ),
        (
            "Assertion failed: status.is_success(): Found unsupported input type of UINT8",
            "Found unsupported input type of UINT8",
        ),
        (
            "Invalid Node - add\nITensor::getDimensions: Error Code 4: API Usage Error (add: SUM requires inputs with "
            "type kFLOAT. But type is UInt8. In validateTypes at /_src/a.cpp:4)",
            "add: SUM requires inputs with type kFLOAT. But type is UInt8",
        ),
        ("Unsupported data type in randomUniform", "Unsupported data type in randomUniform"),
    ],
)
def test_the_librarys_words_are_kept_without_its_code(text: str, words: str) -> None:
    assert spoken(text) == words
    error = parse_failure([ParserMessage("UNSUPPORTED_NODE", "n", "Op", text)])
    assert words in error.what
    assert "not supported by TensorRT" not in error.what


def test_a_missing_plugin_is_the_reason() -> None:
    text = "Assertion failed: plugin != nullptr: ROIAlign plugin was not found in the plugin registry!"
    error = parse_failure([ParserMessage("UNSUPPORTED_NODE", "roi", "RoiAlign", text)])
    assert error.what == "TensorRT runs RoiAlign as a plugin, and this library has none"


def test_no_message_at_all() -> None:
    assert "no reason" in parse_failure([]).what
    assert "no reason" in build_failure([], {}).what


@pytest.mark.parametrize(
    ("text", "failure", "where", "words"),
    [
        (
            "Myelin ([pass.cpp:337: check_turing_op_compatibility] Cannot compile operation '/fc/Gemm' for Turing "
            "(SM75): FP32 GEMM is not supported. In compileGraph at /_src/c.cpp:2012)",
            BuildFailure.UNSUPPORTED_TYPE,
            "/fc/Gemm",
            "FP32 matrix product",
        ),
        (
            "Myelin ([myelin_graph.h:1295: attachExceptionMsgToGraph] MyelinCheckException: cudnn_impl.cpp:294: "
            "CHECK(false) failed. Strided & Dilated Deconv are currently not supported",
            BuildFailure.UNSUPPORTED_OP,
            "",
            "ConvTranspose that is both strided and dilated",
        ),
        (
            "Cannot compile operation 'Conv__172' for Turing (SM75): FP32 3D convolution is not supported. In x",
            BuildFailure.UNSUPPORTED_TYPE,
            "Conv__172",
            "FP32 3D convolution",
        ),
        (
            "Myelin ([myelin_graph.h:1295: attachExceptionMsgToGraph] MyelinCheckException: "
            "runtime_fusion_codegen.cpp:77: CHECK(!mvmf_cudnn.empty()) failed. empty runtime-fusion MVMF for "
            "'__myl_Fc'",
            BuildFailure.UNSUPPORTED_OP,
            "",
            "no kernel on this GPU for a float16 product",
        ),
        (
            "Cannot compile for target(s) sm75, because the model contains HW-specific datatypes: int4. In x",
            BuildFailure.UNSUPPORTED_TYPE,
            "",
            "sm75 has no int4",
        ),
        (
            "Cannot compile for target(s) sm75, because the model contains HW-specific datatypes: b16. In x",
            BuildFailure.UNSUPPORTED_TYPE,
            "",
            "sm75 has no bfloat16",
        ),
        (
            "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (Network has dynamic or shape inputs, but "
            "no optimization profile has been defined. In validate at /_src/n.cpp:4023)",
            BuildFailure.SHAPE,
            "",
            "inputs of dynamic shape, or whose values are sizes",
        ),
        (
            "[optimizer.cpp::computeCosts::3728] Error Code 10: Internal Error (Could not find any implementation for "
            "node /fc/Gemm + act.)",
            BuildFailure.UNSUPPORTED_OP,
            "/fc/Gemm",
            "no kernel",
        ),
        (
            "10: [optimizer.cpp::computeCosts::3728] Error Code 10: Internal Error (Could not find any implementation "
            "for node layer1.0.conv1 + layer1.0.relu.)\n2: [builder.cpp::buildSerializedNetwork::751] Error Code 2",
            BuildFailure.UNSUPPORTED_OP,
            "layer1.0.conv1",
            "no kernel",
        ),
        (
            "2: [optimizer.cpp::filterQDQFormats::4422] Error Code 2: Internal Error (Assertion "
            "!n->candidateRequirements.empty() failed. All of the candidates were removed, which points to the node "
            "being incorrectly marked as "
            "an int8 node.)",
            BuildFailure.UNSUPPORTED_OP,
            "",
            "no INT8 kernel",
        ),
        ("Error Code 2: OutOfMemory (Requested size was 8589934592 bytes.)", BuildFailure.OUT_OF_MEMORY, "", "memory"),
        ("Error Code 7: BuildCanceled (Build canceled by user ...)", BuildFailure.CANCELLED, "", "cancelled"),
        (
            "[graphScope.cpp::analyze::471] Error Code 2: Internal Error (Assertion tScope.getType() != "
            "ScopeType::kUNDEFINED failed. )",
            BuildFailure.UNSUPPORTED_OP,
            "if0",
            "control flow",
        ),
        ("Something new (In f at /_src/a.cpp:1)", BuildFailure.OTHER, "", "Something new"),
    ],
)
def test_builder_messages(text: str, failure: BuildFailure, where: str, words: str) -> None:
    operators = {"/fc/Gemm": "Gemm", "/fc": "Relu", "Conv__172": "Conv", "layer1.0.conv1": "Conv"}
    error = build_failure([NO_DRIVER, text], operators, control_flow="if0")
    assert (error.failure, error.where) == (failure, where)
    assert words in error.what
    assert text in error.log


def test_what_the_compiler_takes_as_one_is_named_by_its_ends_and_missing_kernels_are_said() -> None:
    """Seen from 8.5.3.1 on an H200: matrix products of a transformer, with no cuBLAS installed."""
    text = (
        "10: [optimizer.cpp::computeCosts::3728] Error Code 10: Internal Error (Could not find any implementation for "
        "node {ForeignNode[table...v1.top]}.)\n2: [builder.cpp::buildSerializedNetwork::751]"
    )
    error = build_failure([text], {"words": "Gather", "v1.top": "ArgMax"}, lacks_kernels=True)
    assert error.where == "table to v1.top" and "cuBLAS" in error.fix
    assert "cuBLAS" not in build_failure([text], {}).fix


def test_a_layer_without_a_name_is_its_nodes_and_advice_knows_of_halves() -> None:
    """An LSTM with lengths stays in FP32, and all else is in float16: ``--precision fp16`` helps nothing."""
    operation = "$$myelin$$(Unnamed Loop* 0)^(Unnamed Layer* 56) [Matrix Multiply]"
    text = f"Cannot compile operation '{operation}' for Turing (SM75): FP32 GEMM is not supported. In x"
    unnamed = {"(Unnamed Layer* 56) [Matrix Multiply]": "speak"}
    error = build_failure([text], {"speak": "LSTM"}, precision="fp16", unnamed=unnamed)
    assert error.where == "speak" and "--precision fp16" not in error.fix
