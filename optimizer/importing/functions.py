"""Model-local functions, inlined whatever opset each of them was written for."""

from __future__ import annotations

import onnx_ir as ir
import onnx_ir.passes.common as common

from graphs.errors import BadInput


def inline_functions(model: ir.Model, where: str) -> list[str]:
    """Put every function's nodes where it is called; returns notes.

    Nodes of a function that imports another opset than the model carry it as their ``version``, which
    ``convert_to_current`` reads.
    """
    if not model.functions:
        return []
    count = len(model.functions)
    for function in model.functions.values():
        own = function.opset_imports.get("", model.opset_imports[""])
        if own != model.opset_imports[""]:
            for node in function.all_nodes():
                node.version = own
        for domain in function.opset_imports:
            function.opset_imports[domain] = model.opset_imports.setdefault(domain, function.opset_imports[domain])
    try:
        common.InlinePass()(model)
    except (ValueError, ir.passes.PassError) as error:
        cause = error.__cause__ or error
        raise BadInput(
            f"its functions cannot be inlined: {cause}",
            where=where,
            fix="inline them when you export: onnx.inliner.inline_local_functions(model)",
        ) from error
    model.functions.clear()
    return [f"{count} model functions inlined"]
