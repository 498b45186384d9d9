"""TensorRT's form: typed, within the budget, and compared with what ONNX Runtime's default session makes of it."""

from __future__ import annotations

from functools import partial
from threading import Event

import onnx_ir as ir

from graphs.tensorrt.block_quantizers import has_block_quantizers
from graphs.tensorrt.lint import lint
from optimizer.quantization.codes.scheme import Scheme
from optimizer.quantization.prepared import Prepared, QuantizedModel
from optimizer.settings.options import Precision
from optimizer.stages.forms.budget import within_budget
from optimizer.stages.forms.describing import STAGE
from optimizer.stages.forms.form_files import FormFiles
from optimizer.stages.forms.making import Making
from optimizer.stages.forms.mixing import gpu_maker, searches
from optimizer.stages.forms.typed_forms import TypedForm
from optimizer.typed.graph import GraphTyper
from optimizer.typed.high_precision import Observed


class TensorrtFormMaker:
    """Makes the form into ``files``; ``scheme`` is how it is quantized, None where it is not."""

    def __init__(self, making: Making, scheme: Scheme | None, observed: Observed | None, files: FormFiles) -> None:
        self._making, self._scheme, self._files = making, scheme, files
        self._typer, self._describe = making.typer(observed), making.describe

    def made(self, prepared: Prepared | None, stop: Event) -> TypedForm:
        """The form of ``prepared``, or of the float graph where there is none, and warnings about it."""
        make = partial(self._typed, self._typer, self._files)
        prepared, before = self._making.as_before(prepared, make, stop)
        if before is not None:
            form = before
            self._files.keep(form.path)
        elif prepared is not None and searches(self._making.job.settings, prepared):
            form = self._files.taken(self._searched(prepared))
        elif self._making.as_given is not None:
            form = self._making.as_given.for_tensorrt(
                lambda given: self._describe.checked(self._typer.as_given(*given), self._files), make
            )
            self._files.keep(form.path)
        else:
            form = self._within_budget(prepared)
            self._files.keep(form.path)
        form = self._making.before.told(self._describe.drifted(form, prepared), self._scheme)
        self._warn(form)
        return form

    def _typed(self, typer: GraphTyper, files: FormFiles, quantized: QuantizedModel | None, why: str = "") -> TypedForm:
        """What ``typer`` makes of ``quantized``, and its accuracy check."""
        return self._describe.checked(typer.typed(quantized, why), files)

    def _searched(self, prepared: Prepared) -> TypedForm:
        making = self._making
        maker = gpu_maker(making.job, making.cleaned, making.graph, prepared, self._typer, self._typed)
        return making.searched(prepared, maker)

    def _within_budget(self, prepared: Prepared | None) -> TypedForm:
        """Quantized where asked, and within the budget where ``auto`` leaves a choice."""
        make, settings = partial(self._typed, self._typer, self._files), self._making.job.settings
        if prepared is None:
            form = make(None, self._making.before.why_float)
        else:
            form = within_budget(prepared, make, self._describe.say)
        if not form.check.ok and settings.precision is Precision.AUTO and settings.plan is None:
            return make(None)
        return form

    def _warn(self, form: TypedForm) -> None:
        """Of what TensorRT rejects or leaves unfused, of a plan that did not come true, of a default session of ONNX
        Runtime that answers otherwise.
        """
        written, warn = ir.load(form.path), self._making.events.warn
        for finding in lint(written):
            warn(STAGE, f"{finding.where}: {finding.message} ({finding.rule.value})")
        self._describe.warn_of_the_plan(form)
        plain = form.table is not None and not has_block_quantizers(written)  # those TensorRT alone runs
        if plain and (differs := self._making.checker().plain_difference(form.path)):
            warn(STAGE, differs)
