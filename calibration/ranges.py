"""From statistics to the calibration table: one range per tensor, by a named method."""

from __future__ import annotations

from collections.abc import Mapping

from calibration.methods.chosen import Chosen, RangeMethod
from calibration.methods.entropy import entropy
from calibration.methods.minmax import minmax
from calibration.methods.mse import mse
from calibration.methods.percentile import percentile
from calibration.statistics import Statistics, TensorStatistics
from calibration.table import CalibrationTable, TensorRange
from graphs.errors import BadInput
from graphs.reading.number_types import SIGNED, NumberType

METHODS: Mapping[str, RangeMethod] = {"minmax": minmax, "entropy": entropy, "percentile": percentile, "mse": mse}
DEFAULT_METHOD = "mse"  # what ``auto`` starts from


def choose_ranges(
    statistics: Statistics,
    method: str = "auto",
    *,
    numbers: Mapping[str, NumberType] | None = None,
    model_digest: str,
    data_digest: str,
    calibrated: bool,
) -> CalibrationTable:
    """A range for every observed tensor. ``method`` is ``auto`` or a key of ``METHODS``; raises ``BadInput`` else.
    ``numbers``: what the codes of a tensor are, where not eight whole bits.
    """
    codes = numbers or {}
    name = DEFAULT_METHOD if method == "auto" else method
    if name not in METHODS:
        raise BadInput(
            f"no calibration method {method!r}", where="--calibration", expected=", ".join(["auto", *METHODS])
        )
    return CalibrationTable(
        tensors={
            tensor: choose_range(found, name, codes.get(tensor, SIGNED)) for tensor, found in statistics.tensors.items()
        },
        method=method,
        samples=statistics.samples,
        calibrated=calibrated,
        model_digest=model_digest,
        data_digest=data_digest,
        notes=[f"{tensor}: no values were seen" for tensor, found in statistics.tensors.items() if not found.count],
    )


def choose_range(statistics: TensorStatistics, method: str, numbers: NumberType = SIGNED) -> TensorRange:
    """The range of one tensor, for codes that are ``numbers``, by a key of ``METHODS``."""
    chosen: Chosen = METHODS[method](statistics, numbers)
    return TensorRange(
        minimum=statistics.minimum,
        maximum=statistics.maximum,
        low=chosen.low,
        high=chosen.high,
        amax=chosen.amax,
        method=method,
    )
