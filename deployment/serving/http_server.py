"""The protocol over HTTP, by aiohttp's low-level server.

Paths: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md, and
Triton's extensions of the model repository, the model configuration and statistics.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import unquote

import msgspec
from aiohttp import web
from aiohttp.streams import StreamReader
from aiohttp.web_request import BaseRequest

from deployment.serving.access import Access
from deployment.serving.http_body import HEADER_LENGTH, read_request, refused, write_answer
from deployment.serving.inference import (
    answer,
    load_bundle,
    model_config,
    model_metadata,
    model_statistics,
    server_metadata,
)
from deployment.serving.limits import Place
from deployment.serving.refusals import RETRY_SECONDS, Refusal, bad_request, not_found
from deployment.serving.state import State

LARGE = 1 << 16
"""Bytes of a body from which reading and writing it may have to wait for the client (aiohttp's buffers hold as much),
and from which JSON is read in a thread. Chosen."""
_JSON = "application/json"
_HEALTH = ("live", "ready")


class HttpService:
    """Answers every request."""

    def __init__(self, state: State, access: Access) -> None:
        self._state, self._access = state, access

    async def __call__(self, request: BaseRequest) -> web.StreamResponse:
        parts = [unquote(part) for part in request.raw_path.partition("?")[0].strip("/").split("/")]
        try:
            if parts[:2] == ["v2", "models"] and parts[-1] == "infer":
                return await self._timed(request, parts)
            return await self._other(request, parts)
        except Refusal as refusal:
            return _refusal(refusal)

    async def _timed(self, request: BaseRequest, parts: list[str]) -> web.StreamResponse:
        with self._state.metrics.timed("http"):
            return await self._infer(request, parts)

    async def _infer(self, request: BaseRequest, parts: list[str]) -> web.StreamResponse:
        _only(request, "POST")
        self._access.check(request.headers.get("Authorization"))
        name, version = _model_of(parts[2:-1])
        with self._state.gate.admit() as place:
            body = await self._body(request, place)
            with self._state.repository.get(name, version).used() as served:
                length = request.headers.get(HEADER_LENGTH)
                if len(body) > LARGE and length is None:  # numbers as text take long to read
                    loop = asyncio.get_running_loop()
                    question = await loop.run_in_executor(self._state.reader, read_request, body, None, served)
                else:
                    question = read_request(body, length, served)
                pieces, header = write_answer(question, await answer(served, question.feed), served)
            return await self._written(request, pieces, header)

    async def _body(self, request: BaseRequest, place: Place) -> bytes:
        """The body, decompressed. Raises ``Refusal``: 408 where it comes too slowly, 413 and 429 beyond the limits."""
        content = request.content
        place.hold(request.content_length or 0)
        if content.is_eof() and content.exception() is None:  # it is all here, as small ones are
            whole = content.read_nowait(-1)
            place.hold(len(whole))
            return whole
        try:
            return await asyncio.wait_for(_gather(content, place), self._state.gate.limits.client_seconds)
        except asyncio.TimeoutError as error:
            raise Refusal(408, "the body did not come in time") from error
        except web.RequestPayloadError as error:
            raise bad_request(f"the body cannot be read: {error}") from error

    async def _written(self, request: BaseRequest, pieces: list[bytes], header: int | None) -> web.StreamResponse:
        """Send an answer while its place is held: a client that does not read is cut off, and holds no memory."""
        headers = {"Content-Type": _JSON if header is None else "application/octet-stream"}
        if header is not None:
            headers[HEADER_LENGTH] = str(header)
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        response = web.Response(body=body, headers=headers)
        if len(body) > LARGE:
            await response.prepare(request)
            try:
                await asyncio.wait_for(response.write_eof(), self._state.gate.limits.client_seconds)
            except asyncio.TimeoutError:
                if request.transport is not None:
                    request.transport.abort()
        return response

    async def _other(self, request: BaseRequest, parts: list[str]) -> web.StreamResponse:
        if parts[:2] == ["v2", "health"] and len(parts) == 3 and parts[2] in _HEALTH:
            return _health(parts[2] == "live" or self._state.ready)
        ready = parts[-1] == "ready" and parts[:2] == ["v2", "models"] and len(parts) > 3  # else a model of that name
        if ready:
            return _health(self._state.model_ready(*_model_of(parts[2:-1])))
        self._access.check(request.headers.get("Authorization"))
        if parts == ["metrics"]:
            _only(request, "GET")
            return web.Response(body=self._state.metrics.page(), headers={"Content-Type": "text/plain; version=0.0.4"})
        if parts[:2] == ["v2", "repository"]:
            return await self._repository(request, parts[2:])
        _only(request, "GET")
        if parts == ["v2"]:
            return _json(server_metadata(self._state.version))
        if parts[:2] == ["v2", "models"] and len(parts) > 2:
            return self._model(parts[2:])
        raise not_found(f"no such path: {request.raw_path[:120]!r}")

    def _model(self, parts: list[str]) -> web.StreamResponse:
        """Metadata, configuration or statistics of a model."""
        models = self._state.repository.models
        if parts == ["stats"] and "stats" not in models:
            served_now = [version for model in models.values() for version in model.versions.values()]
            return _json({"model_stats": [model_statistics(version) for version in served_now]})
        what = parts.pop() if parts[-1] in ("config", "stats") and len(parts) > 1 else ""
        name, version = _model_of(parts)
        served = self._state.repository.get(name, version)
        if what == "config":
            return _json(model_config(served))
        if what == "stats":
            return _json({"model_stats": [model_statistics(served)]})
        return _json(model_metadata(served, list(models[name].versions)))

    async def _repository(self, request: BaseRequest, parts: list[str]) -> web.StreamResponse:
        """The model repository extension: ``index``, and ``models/NAME/load`` and ``unload``."""
        _only(request, "POST")
        repository = self._state.repository
        with self._state.gate.admit() as place:
            body = await self._body(request, place)
        given = _decoded(body)
        if parts == ["index"]:
            return _json(repository.index(ready=given.get("ready") is True))
        if len(parts) == 3 and parts[0] == "models" and parts[2] in ("load", "unload"):
            if parts[2] == "unload":
                await repository.unload(parts[1])
            else:
                await load_bundle(repository, parts[1], given.get("parameters") or {})
            return _json({})
        raise not_found(f"no such path: {request.raw_path[:120]!r}")


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise bad_request(f"the body is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise bad_request("the body is no JSON object")
    return found


async def _gather(content: StreamReader, place: Place) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := await content.readany():
        size += len(piece)
        place.hold(size)
        pieces.append(piece)
    return b"".join(pieces)


def _model_of(parts: list[str]) -> tuple[str, str]:
    """Name and version in ``NAME`` or ``NAME/versions/VERSION``. Raises ``Refusal``."""
    if len(parts) == 3 and parts[1] == "versions":
        return parts[0], parts[2]
    if len(parts) != 1:
        raise not_found(f"no such path: {'/'.join(parts)[:120]!r}")
    return parts[0], ""


def _only(request: BaseRequest, method: str) -> None:
    if request.method != method:
        raise Refusal(405, f"{request.method[:20]} is not served here, {method} is")


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), headers={"Content-Type": _JSON})


def _health(good: bool) -> web.Response:
    return web.Response(status=200 if good else 503)


def _refusal(refusal: Refusal) -> web.Response:
    headers = {"Content-Type": _JSON}
    if refusal.retry:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return web.Response(status=refusal.status, body=refused(refusal), headers=headers)
