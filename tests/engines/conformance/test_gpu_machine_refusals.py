"""The stand-ins for TensorRT refuse what the real ones refuse, so that a test on them would fail where a GPU would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.gpu_machine import environment

ASK = """
import json, sys
import tensorrt as trt

said = []
class Logger(trt.ILogger):
    def __init__(self):
        trt.ILogger.__init__(self)
    def log(self, severity, message):
        said.append(message)

logger, old = Logger(), trt.__version__.startswith("8")
flag = trt.NetworkDefinitionCreationFlag
builder = trt.Builder(logger)

def parsed(path):
    network = builder.create_network(1 << int(flag.EXPLICIT_BATCH if old else flag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    taken = parser.parse_from_file(path)
    return network, [] if taken else [parser.get_error(i).desc() for i in range(parser.num_errors)]

def config(*shapes):
    made = builder.create_builder_config()
    if old:
        made.set_tactic_sources(1 << int(trt.TacticSource.JIT_CONVOLUTIONS))
        made.set_preview_feature(trt.PreviewFeature.DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805, True)
    for shape in shapes:
        profile = builder.create_optimization_profile()
        profile.set_shape("x", shape, shape, shape)
        made.add_optimization_profile(profile)
    return made

def run(with_memory):
    if old:
        context = engine.create_execution_context_without_device_memory()
    else:
        context = engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    if old and with_memory:  # the first context has the first profile
        assert not context.set_optimization_profile_async(0, 0) and context.set_optimization_profile_async(1, 0)
    context.set_input_shape("x", (2, 3))
    if with_memory and old:
        context.device_memory = 1 << 20
    elif with_memory:
        context.set_device_memory(1 << 20, 1 << 20)
    ran = context.execute_async_v3(0)
    return ran, said[-1]

network, errors = parsed("good.onnx")
assert not errors, errors
answers = {
    "unknown": parsed("unknown.onnx")[1],
    "invalid": parsed("invalid.onnx")[1],
    "no profile": [builder.build_serialized_network(network, config()), said[-1]],
}
plan = builder.build_serialized_network(network, config((2, 3), (2, 3)))
engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
answers["no memory"], answers["no address"] = run(False), run(True)
print(json.dumps(answers))
"""


@pytest.mark.parametrize("old", [False, True], ids=["11", "8.5"])
def test_what_a_real_one_refuses(tmp_path: Path, old: bool) -> None:
    opset = 17 if old else 21
    for name, node in {"good": "Relu(x)", "unknown": "Unique(x)", "invalid": "Relu(x, x)"}.items():
        text = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[N,3] x) => (float[N,3] y) {{ y = {node} }}'
        (tmp_path / f"{name}.onnx").write_bytes(onnx.parser.parse_model(text).SerializeToString())
    given = environment(tmp_path / "cache", old=old)
    done = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["unknown"] == ["No importer registered for op: Unique"]
    assert len(found["invalid"]) == 1 and "Relu" in found["invalid"][0]
    assert found["no profile"][0] is None and "no optimization profile has been defined" in found["no profile"][1]
    assert found["no memory"][0] is False and "device memory" in found["no memory"][1]
    assert found["no address"][0] is False and "no address" in found["no address"][1]
