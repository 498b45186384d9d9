"""What somebody writes by hand to serve an ONNX model with Triton's Python backend: the study's baseline."""

import json
import os
import sys

sys.path[:0] = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]

import numpy as np  # noqa: E402
import onnxruntime as ort  # noqa: E402
import triton_python_backend_utils as pb_utils  # noqa: E402


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        folder = os.path.join(args["model_repository"], args["model_version"])  # noqa: PTH118
        options = ort.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))  # as the engine does: those it may use
        path = os.path.join(folder, "model.onnx")  # noqa: PTH118
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.input, self.output = config["input"][0]["name"], config["output"][0]["name"]

    def execute(self, requests):  # type: ignore[no-untyped-def]
        arrays = [np.from_dlpack(pb_utils.get_input_tensor_by_name(request, self.input)) for request in requests]
        answers = self.session.run([self.output], {self.input: np.concatenate(arrays)})[0]
        responses, start = [], 0
        for array in arrays:
            part = answers[start : start + len(array)]
            start += len(array)
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack(self.output, part.__dlpack__())]))
        return responses
