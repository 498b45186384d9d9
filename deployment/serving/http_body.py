"""The bodies of ``infer`` over HTTP: JSON, and the binary tensor data extension's JSON with raw tensors behind it.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from deployment.serving.inference import refuse_parameters, wanted_outputs
from deployment.serving.refusals import Refusal, bad_request
from deployment.serving.tensors import datatype_of, to_bytes, to_list
from deployment.serving.version import ServedVersion
from engines.engine import Array, Feed

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The header that says how many bytes of the body are JSON."""
SIZE, BINARY, ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"


class InputTensor(msgspec.Struct):
    """``data`` is JSON's, or lies behind the JSON where ``parameters`` say how many bytes."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class OutputTensor(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The JSON of a request."""

    inputs: list[InputTensor]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[OutputTensor] = []


_DECODER = msgspec.json.Decoder(InferRequest)


@dataclass(frozen=True)
class Question:
    """A request as read: ``wanted`` are names of outputs, those ``binary`` come as raw bytes."""

    id: str
    feed: Feed
    wanted: Sequence[str]
    binary: frozenset[str]


def read_request(body: bytes, header_length: str | None, version: ServedVersion) -> Question:
    """Raises ``Refusal`` that names what does not fit."""
    length = len(body) if header_length is None else _length(header_length, len(body))
    view = memoryview(body)
    try:
        request = _DECODER.decode(view[:length])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_request(f"the body is no inference request: {error}") from error
    feed = _feed(request.inputs, view[length:], version)
    refuse_parameters(request.parameters, "the request")
    for output in request.outputs:
        refuse_parameters(output.parameters, f"output {output.name[:80]!r}")
    wanted = wanted_outputs(version, [output.name for output in request.outputs])
    return Question(request.id, feed, wanted, _binary(request, wanted))


def _length(header: str, size: int) -> int:
    length = int(header) if header.isascii() and header.isdecimal() and len(header) < 20 else -1
    if not 0 <= length <= size:
        raise bad_request(f"{header[:40]!r} for a body of {size} bytes", where=HEADER_LENGTH, expected=f"0 to {size}")
    return length


def _binary(request: InferRequest, wanted: Sequence[str]) -> frozenset[str]:
    usual = request.parameters.get(ALL_BINARY) is True
    if not request.outputs:
        return frozenset(wanted if usual else ())
    return frozenset(o.name for o in request.outputs if o.parameters.get(BINARY, usual) is True)


def _feed(inputs: Sequence[InputTensor], raw: memoryview, version: ServedVersion) -> Feed:
    feed: dict[str, Array] = {}
    start = 0
    for tensor in inputs:
        if tensor.name in feed:
            raise bad_request("given twice", where=f"input {tensor.name[:80]!r}")
        size = tensor.parameters.get(SIZE)
        if size is None:
            refuse_parameters(tensor.parameters, f"input {tensor.name[:80]!r}")
            if tensor.data is None:
                raise bad_request("has no data", where=f"input {tensor.name[:80]!r}")
            feed[tensor.name] = version.decode.listed(tensor.name, tensor.datatype, tensor.shape, tensor.data)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(raw) - start:
            what = f"{SIZE} is {size!r:.40}, and {len(raw) - start} bytes are left in the body"
            raise bad_request(what, where=f"input {tensor.name[:80]!r}")
        feed[tensor.name] = version.decode.raw(tensor.name, tensor.datatype, tensor.shape, raw[start : start + size])
        start += size
    if start != len(raw):
        raise bad_request(f"{len(raw) - start} bytes of the body belong to no input")
    return feed


def write_answer(
    question: Question, outputs: Mapping[str, Array], version: ServedVersion
) -> tuple[list[bytes], int | None]:
    """The body in pieces, and how many bytes of it are JSON where raw tensors follow. Raises ``Refusal``."""
    heads: list[dict[str, Any]] = []
    pieces: list[bytes] = []
    for name in question.wanted:
        array = outputs[name]
        head: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": array.shape}
        if name in question.binary:
            content = to_bytes(array)
            pieces.append(content)
            head["parameters"] = {SIZE: len(content)}
        else:
            head["data"] = to_list(array, name)
        heads.append(head)
    answer: dict[str, Any] = {"model_name": version.name, "model_version": version.version, "outputs": heads}
    if question.id:
        answer["id"] = question.id
    header = msgspec.json.encode(answer)
    return [header, *pieces], len(header) if pieces else None


def refused(refusal: Refusal) -> bytes:
    return msgspec.json.encode({"error": refusal.message})
