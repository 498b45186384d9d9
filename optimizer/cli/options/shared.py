"""The main job's options as given, on the command line or in a file, become settings: in one way for both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from graphs.errors import BadInput
from optimizer.settings.asked_plan import AskedPlan
from optimizer.settings.given import choice, listed, option_list, parse_fraction
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision, Sparsity

BUILDER_OPTIONS = {
    "workspace": "workspace_mb",
    "optimization_level": "optimization_level",
    "version_compatible": "version_compatible",
    "hardware_compatible": "hardware_compatible",
    "refit": "refit",
    "strip_plan": "strip_plan",
    "weight_streaming": "weight_streaming",
}
"""Options of the command that are TensorRT's, and their names there (``engines.tensorrt.options``)."""
_FIELDS = {"target": "targets", "shape": "shapes"}
"""Options whose field in ``Settings`` has another name."""


def settings_of(options: Mapping[str, Any], base: Settings) -> Settings:
    """``base`` with ``options`` by their names on the command line (``max_drop``); TensorRT's are added to those of
    ``base``. Raises ``BadInput`` for a value that cannot be read.
    """
    fields: dict[str, Any] = {}
    for name, value in options.items():
        field = _FIELDS.get(name, name)
        if field in Settings.__dataclass_fields__:
            fields[field] = _read(name, value)
    fields["builder_options"] = (*base.builder_options, *_builder_options(options))
    return replace(base, **fields)


def _read(name: str, value: Any) -> Any:
    if name == "precision":
        return choice(Precision, value, "--precision")
    if name == "sparsity":
        return choice(Sparsity, value, "--sparsity")
    if name == "plan":
        return AskedPlan.from_file(Path(value))
    if name == "max_drop":
        return parse_fraction(value)
    if name == "target" and not listed(value):  # a script's empty variable is no wish for the default
        raise BadInput("names no target", where="--target", expected="names such as cpu,t4, or no --target at all")
    if name in ("target", "loadgen", "without"):
        return listed(value)
    return tuple(value) if isinstance(value, list) else value


def _builder_options(options: Mapping[str, Any]) -> tuple[str, ...]:
    named = {theirs: options[ours] for ours, theirs in BUILDER_OPTIONS.items() if ours in options}
    if plugins := options.get("plugin"):
        named["plugins"] = os.pathsep.join(map(str, plugins))
    return (*option_list(named), *options.get("builder_option", ()))
