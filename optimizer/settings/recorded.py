"""The settings of a job as its bundle's manifest keeps them, and back: what ``optimize update`` runs again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

from graphs.errors import BadInput
from optimizer.settings.asked_plan import AskedPlan, asked_plan
from optimizer.settings.call import name_of
from optimizer.settings.given import choice
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision, Sparsity


@dataclass(frozen=True)
class RecordedSettings:
    """``values`` are the fields of ``Settings`` that differ from their defaults, paths as they were given.

    ``unnamed`` are those that no text names, such as a function defined at a prompt.
    """

    values: dict[str, Any]
    unnamed: list[str] = field(default_factory=list)

    @staticmethod
    def of(settings: Settings) -> RecordedSettings:
        values: dict[str, Any] = {}
        unnamed: list[str] = []
        for entry in fields(settings):
            value = getattr(settings, entry.name)
            if value == entry.default:
                continue
            if (plain := _plain(value)) is None:
                unnamed.append(entry.name)
            else:
                values[entry.name] = plain
        return RecordedSettings(values, unnamed)

    def settings(self, where: str, given: Mapping[str, Any]) -> Settings:
        """The settings, with those that are ``given`` instead. Raises ``BadInput`` naming the bundle ``where`` for one
        that it could not record and nobody gives, that this version does not know, or that is of another type.
        """
        if missing := [name for name in self.unnamed if name not in given]:
            raise BadInput(
                f"the bundle was made with a {missing[0]} that is a function without a name to import it by",
                where=where,
                fix=f"give it again with --{missing[0].replace('_', '-')}",
            )
        if unknown := [name for name in self.values if name not in Settings.__dataclass_fields__]:
            raise BadInput(
                f"was made by another version: this one knows no setting {unknown[0]!r}",
                where=where,
                fix="make it again with `optimize MODEL.onnx`, or update it with the version that made it",
            )
        own = {name: value for name, value in self.values.items() if name not in given}
        try:
            read = {name: _read(name, value) for name, value in own.items()}
            settings = Settings(**read)
        except TypeError as error:
            raise BadInput(
                f"its settings are not what `optimize` writes: {error}",
                where=where,
                fix="make it again with `optimize MODEL.onnx`",
            ) from error
        return replace(settings, **{name: _read(name, value) for name, value in given.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, AskedPlan):
        return {name: node.dtype.value for name, node in value.nodes.items()}
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    return name_of(value) if callable(value) else value


def _read(name: str, value: Any) -> Any:
    if name == "precision":
        return choice(Precision, value, "precision")
    if name == "sparsity":
        return choice(Sparsity, value, "sparsity")
    if name == "plan":
        return asked_plan(value)
    return tuple(value) if isinstance(value, list) else value
