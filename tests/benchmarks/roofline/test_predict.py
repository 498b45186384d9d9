"""Times from kernels by hand: which bound wins, what a batch shares, what padding and idle multiprocessors cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.roofline.kernels import Kernel, Product
from benchmarks.roofline.predict import (
    Efficiency,
    bound_of,
    latency_ms,
    layer_times,
    operations,
    samples_per_s,
    sustained_clock,
)
from benchmarks.roofline.prediction import calibration, predict
from engines.targets.boards import GPUS

T4, A100, H100 = GPUS["t4"], GPUS["a100-sxm-80gb"], GPUS["h100-sxm"]
IDEAL = Efficiency(compute=1.0, memory=1.0, throttle=0.0)
SQUARE = Product("m", "fp16", "tensor", 4096**3, 4096, 4096, 4096)


def kernel(product: Product | None = SQUARE, weights: int = 0, activations: int = 0) -> Kernel:
    products = () if product is None else (product,)
    return Kernel("k", "gemm" if products else "memory", ("k",), products, weights, activations)


def test_a_large_product_takes_its_operations_over_the_peak() -> None:
    (time,) = layer_times([kernel()], A100, IDEAL, 1)
    assert time.bound == "compute"
    assert time.microseconds == pytest.approx(2 * 4096**3 / 312e12 * 1e6, rel=0.02)


def test_moving_bytes_takes_bandwidth_and_efficiency_scales_it() -> None:
    (time,) = layer_times([kernel(None, activations=2_039_000)], A100, IDEAL, 1)
    assert time.bound == "memory" and time.microseconds == pytest.approx(1.0)
    (slower,) = layer_times([kernel(None, activations=2_039_000)], A100, replace(IDEAL, memory=0.5), 1)
    assert slower.microseconds == pytest.approx(2.0)


def test_weights_are_read_once_per_batch_and_activations_per_sample() -> None:
    loads = [kernel(None, weights=1_000_000, activations=1000)]
    one, many = (layer_times(loads, A100, IDEAL, batch)[0].memory_us for batch in (1, 100))
    assert many < 1.1 * one
    assert samples_per_s(loads, A100, IDEAL, 100) > 90 * samples_per_s(loads, A100, IDEAL, 1)


def test_types_run_at_their_own_rate_and_missing_units_at_the_next_wider() -> None:
    times = {dtype: _ms(replace(SQUARE, dtype=dtype), A100) for dtype in ("int8", "fp16", "fp32")}
    assert times["fp16"] == pytest.approx(2 * times["int8"], rel=0.01)
    assert times["fp32"] == pytest.approx(2 * times["fp16"], rel=0.01), "TF32"
    assert _ms(replace(SQUARE, dtype="fp8"), A100) == times["fp16"], "no FP8 units before Ada"
    assert _ms(replace(SQUARE, dtype="fp8"), H100) < _ms(replace(SQUARE, dtype="fp16"), H100)
    assert _ms(replace(SQUARE, dtype="fp32"), T4) == pytest.approx(8 * _ms(SQUARE, T4), rel=0.01), "no TF32 on Turing"


def _ms(product: Product, gpu=A100) -> float:
    return latency_ms(layer_times([kernel(product)], gpu, IDEAL, 1))


def test_tensor_cores_compute_padded_channels() -> None:
    three = Product("c", "int8", "tensor", 3 * 1000, 1_000_000, 64, 3)
    twelve = replace(three, channels=12)
    assert operations(three, 1, 1) == pytest.approx(2 * 3000 * 4 / 3, rel=0.01)
    assert operations(twelve, 1, 1) == pytest.approx(2 * 3000 * 32 / 12, rel=0.01)
    assert operations(replace(three, unit="vector"), 1, 1) == 2 * 3000


def test_few_tiles_leave_multiprocessors_idle_and_a_batch_fills_them() -> None:
    small = Product("m", "fp16", "tensor", 64 * 64 * 64, 64, 64, 64)
    assert operations(small, 108, 1) == 2 * small.macs * 108
    assert operations(small, 108, 108) == 2 * small.macs * 108
    assert operations(small, 108, 109) / 109 < 2 * small.macs * 2


def test_the_overhead_is_in_cycles_of_the_clock_held() -> None:
    tiny, factors = [kernel(None, activations=1)] * 10, replace(IDEAL, overhead=1410)
    assert latency_ms(layer_times(tiny, A100, factors, 1)) == pytest.approx(0.01, rel=0.01)
    times = layer_times(tiny, A100, factors, 1)
    assert times[0].bound == "overhead" and bound_of(times) == "overhead"


def test_a_tight_power_limit_holds_a_lower_clock() -> None:
    assert sustained_clock(A100, 0.0) == 1.0
    assert sustained_clock(T4, 1.0) == pytest.approx(585 / 1590)
    assert sustained_clock(T4, 0.5) < sustained_clock(A100, 0.5)
    assert 0 < sustained_clock(GPUS["b200"], 1.0) < 1, "no base clock is published: the table's median stands in"


def test_a_prediction_says_what_it_is_and_how_far_off_such_ones_were() -> None:
    found = predict([kernel(), kernel(None, activations=1 << 20)], A100)
    assert found.error_percent == calibration().throughput_error_percent > 0
    assert found.latency_error_percent == calibration().latency_error_percent > 0
    assert "not measured" in found.how and "NVIDIA A100 SXM 80 GB" in found.how
    assert found.checked and found.bound == "compute" and found.batch == 128
    assert found.throughput > 1e3 / found.latency_ms
    unchecked = predict([kernel()], H100)
    assert not unchecked.checked and "no result of this GPU generation" in unchecked.how


def test_a_kernel_of_unknown_shape_is_reported() -> None:
    assert "depend on the data" in predict([replace(kernel(), known=False)], A100).how


def test_sparse_weights_are_a_bound_on_gpus_that_have_the_cores() -> None:
    heavy = [kernel()]
    found = predict(heavy, A100, sparse={heavy[0].products[0].node})
    assert found.sparse_speedup is not None and 1 < found.sparse_speedup <= 2
    assert found.throughput == predict(heavy, A100).throughput and "at most" in found.how
    assert predict(heavy, A100).sparse_speedup is None
    assert predict(heavy, GPUS["t4"], sparse={heavy[0].products[0].node}).sparse_speedup is None
