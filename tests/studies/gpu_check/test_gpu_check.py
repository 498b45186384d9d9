"""The GPU check: what it says where it cannot run, and the page it makes of the main job's reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.measurement import Verdict
from benchmarks.report.model import (
    FormSummary,
    LoadgenSummary,
    ModelSummary,
    OutputFidelity,
    Percentiles,
    PrecisionSummary,
    Report,
    TargetSummary,
)
from engines.errors import BuildError, BuildFailure
from engines.targets.gpus_here import Gpu
from optimizer.settings.call import call_text
from optimizer.settings.job import Settings
from optimizer.settings.options import Precision
from studies.gpu_check import __main__ as command
from studies.gpu_check import architectures
from studies.gpu_check.models import subject
from studies.gpu_check.page import Conditions, Ran, page
from studies.gpu_check.runtimes import RuntimeResult

CONDITIONS = Conditions("2026-01-02", "Made-up GPU", "SM80", "580.1", {"numpy": "2"})
A10 = Gpu(0, "NVIDIA A10", (8, 6), 24000, "580.1")
HERE = {"tensorrt": True, "TensorRT-RTX": False, "onnxruntime-gpu": False, "cuda-python": True}


def report(**target: Any) -> Report:
    accuracy = {"logits": OutputFidelity(0.9999, 38.4, 0.1), "other": OutputFidelity(0.9999, 41.0, 0.1)}
    measured = TargetSummary(
        "tensorrt",
        "measured",
        kept_precision="int8",
        why="INT8 ran at 1.42x of FP16 on this NVIDIA A10",
        batch=8,
        int8_native=0.925,
        forms={
            "fp16": FormSummary(failed="no kernel | for Foo"),
            "int8": FormSummary(
                Percentiles(0.5, 0.6, 0.7), 12345.6, accuracy, None, 87.65, 0.1, 0.2, 0.3, 2_000_000, 9.5
            ),
        },
    )
    found = replace(measured, **target)
    loadgen = {"a10": {"server": LoadgenSummary(False, "completed queries", 99.0, ["too slow"], unit="queries/s")}}
    return Report(
        status="ok",
        verdict=Verdict(True),
        calibrated=True,
        model=ModelSummary("net.onnx", "ab" * 32, 1, 1, 1),
        precision=PrecisionSummary.of("int8", [], None),
        accuracy=None,
        targets={"cpu": TargetSummary("onnxruntime", "measured"), "a10": found},
        loadgen=loadgen,
        plaster=None,
        timings={},
        peak_rss_mb=None,
        warnings=["a10: something odd"],
    )


def test_the_page_sets_the_forms_side_by_side() -> None:
    text = page(CONDITIONS, [Ran("net", report())])
    assert "# Made-up GPU, 2026-01-02" in text and "driver 580.1" in text
    assert "Ships in int8: INT8 ran at 1.42x of FP16 on this NVIDIA A10." in text and "92.5% are in INT8" in text
    row = "| int8 | 0.500 | 0.700 | 12,346 | 87.7 | 0.100 | 0.200 | 0.300 | - | - | 38.4 | - | 2.0 | 9.5 |"
    assert row in text, "the worst output's SQNR"
    assert "| fp16 | **no kernel \\| for Foo** |" in text
    assert "| server | INVALID | 99 queries/s (completed queries) | None | too slow |" in text
    assert "- a10: something odd" in text and "### cpu" not in text


def test_the_command_names_no_folder_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(targets=("native",), data="/elsewhere/score.py:rows", shapes=("x=1x3:8x3:8x3",))
    command = call_text(Path("/lib/optimizer/demo/net.onnx"), settings, tmp_path / "w" / "net")
    text = page(CONDITIONS, [Ran("net", replace(report(), command=command))])
    assert (
        "`optimize('net.onnx', targets=['native'], data='score.py:rows', shapes=['x=1x3:8x3:8x3'], out='w/net')`, "
        "abababababababab: ok." in text
    )


def test_what_did_not_run_has_its_reason() -> None:
    text = page(
        CONDITIONS, [Ran("net", report(status="built", reason="out of GPU memory")), Ran("other", None, "no file")]
    )
    assert "**built:** out of GPU memory" in text and "## other\n\n**Stopped:** no file" in text


def test_the_page_has_the_runtimes_that_opened_and_why_others_did_not() -> None:
    opened = RuntimeResult("cuda-python", "", "A10", "13.0", 12.34, 11.0, 400.0, 20.06, 90.0, ["torch"])
    text = page(CONDITIONS, [], [opened, RuntimeResult("pycuda", "pycuda is not installed")])
    assert "| cuda-python, CUDA 13.0 | 12.3 | 11.0 | 400.0 | 90.0 | 20.1 | torch |" in text
    assert "- pycuda: pycuda is not installed" in text and "| pycuda" not in text
    assert "CUDA runtimes" not in page(CONDITIONS, [])


def test_every_model_is_asked_for_on_the_gpu_with_its_inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.gpu_check.models.SAMPLES", 2)
    settings = Settings(precision=Precision.INT8, targets=("native",))
    for name in ("demo", "resnet50"):  # BERT-base takes 440 MB
        found = subject(name, tmp_path, settings)
        assert found.model.is_file() and found.settings.data and found.settings.targets == ("native",)


def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, outcome: Any) -> tuple[int, list[tuple[Path, Settings]]]:
    """The command's exit code, and what it asked of the main job."""
    jobs: list[tuple[Path, Settings]] = []

    def optimize(model: Path, *, settings: Settings, **_: Any) -> SimpleNamespace:
        jobs.append((model, settings))
        if isinstance(outcome, Exception):
            raise outcome
        return SimpleNamespace(report=outcome)

    monkeypatch.setattr(command, "used_gpu", lambda: A10)
    monkeypatch.setattr(command, "present", lambda: HERE)
    monkeypatch.setattr(command, "check_runtimes", list)
    monkeypatch.setattr(command, "optimize", optimize)
    code = command.main(["net.onnx", "--data", "data.npz", "--out", str(tmp_path / "pages"), "--duration", "3"])
    return code, jobs


def test_a_page_per_gpu_and_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, ((model, settings),) = asked(monkeypatch, tmp_path, report())
    assert code == 0 and model == Path("net.onnx")
    assert (settings.data, settings.targets, settings.duration) == ("data.npz", ("native",), 3.0)
    assert len(settings.loadgen) == 4
    (written,) = (tmp_path / "pages").iterdir()
    assert written.name.startswith("nvidia-a10-") and str(written) == capsys.readouterr().out.strip()
    assert "| int8 | 0.500 |" in written.read_text()
    asked(monkeypatch, tmp_path, report())
    assert len(list((tmp_path / "pages").iterdir())) == 2, "an earlier page is kept"


def test_a_model_that_is_refused_has_its_reason_and_nothing_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _ = asked(monkeypatch, tmp_path, BuildError(BuildFailure.OTHER, "does not build", fix="use another"))
    assert code == 1
    (written,) = (tmp_path / "pages").iterdir()
    assert "**Stopped:** does not build; fix: use another" in written.read_text()


def test_a_builder_option_without_a_value_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        architectures.main(["folder", "--builder-option", "refit"])
    assert ended.value.code == 2 and "refit" in capsys.readouterr().err.splitlines()[-1]


class TestWithoutAGpu:
    def test_it_says_in_one_line_what_is_missing_and_exits_2(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(command, "used_gpu", lambda: None)
        monkeypatch.setattr(command, "present", lambda: {"tensorrt": False, "TensorRT-RTX": True, "cuda-python": True})
        assert command.main(["model.onnx"]) == 2
        out, error = capsys.readouterr()
        assert out == "" and error.count("\n") == 1 and "no NVIDIA GPU" in error
        assert "Installed here: TensorRT-RTX, cuda-python; not installed: tensorrt" in error

    def test_a_gpu_with_nothing_that_runs_on_it_names_the_packages(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        nothing = dict.fromkeys(HERE, False)
        monkeypatch.setattr(command, "used_gpu", lambda: A10)
        monkeypatch.setattr(command, "present", lambda: nothing)
        assert command.main(["--look"]) == 2
        assert "pip install onnxruntime-gpu" in capsys.readouterr().err
        monkeypatch.setattr(command, "present", lambda: {**nothing, "TensorRT-RTX": True})
        assert command.main(["--look"]) == 2
        assert "cuda-python is not installed" in capsys.readouterr().err
        monkeypatch.setattr(command, "present", lambda: {**nothing, "onnxruntime-gpu": True})
        assert command.main(["--look"]) == 0
