"""Where a stage puts the graphs it makes of a model, and drops those it does not keep."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from graphs.files import link_or_copy
from graphs.storage.model_files import external_files
from graphs.storage.saving import save_model
from optimizer.bundle import MODEL
from optimizer.stages.forms.typed_forms import TypedForm


class FormFiles:
    """The folder of a stage: every graph in a folder of its own, under the name it has in a bundle."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, 0

    def saved(self, model: ir.Model) -> Path:
        path = self._folder / str(self._made) / MODEL
        self._made += 1
        path.parent.mkdir(parents=True)
        save_model(model, path)
        return path

    def taken(self, form: TypedForm) -> TypedForm:
        """``form`` with its graph, which lies elsewhere, here."""
        folder = self._folder / str(self._made)
        self._made += 1
        folder.mkdir(parents=True)
        for name in (form.path.name, *external_files(form.path)):
            link_or_copy(form.path.parent / name, folder / name)
        return replace(form, path=folder / form.path.name)

    def keep(self, path: Path) -> None:
        """Drop every graph but this one: the others were over budget."""
        for folder in self._folder.iterdir():
            if folder.is_dir() and folder != path.parent:
                shutil.rmtree(folder)
