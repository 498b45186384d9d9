"""What the structural checks look for: the catalogue, and the names the layout fixes.

Written anew from the layout rules and from reading what MLCommons' own checker enforces for rounds v1.0 to v4.1. A
folder of a task of its own can pass all but those that only hold for official tasks, which become warnings in the open
division.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]

CATALOGUE = {
    "division": "the top folders are `open` or `closed`, and nothing else lies beside them",
    "folders": "each submitter has `systems`, `measurements`, `results` and `code`",
    "system-file": "each system in `results` has `systems/SYSTEM.json`, a JSON object",
    "system-fields": "the system file has every required field",
    "system-meaning": "fields that must say something are not empty",
    "system-place": "submitter and division in the system file are those of the folders; system_type is known",
    "measurement-files": "user.conf, mlperf.conf, README.md and a calibration description exist and are not empty",
    "measurement-json": "`SYSTEM_*.json` exists and its five fields are filled",
    "code": "`code/BENCHMARK` exists",
    "accuracy-files": "`accuracy` holds accuracy.txt and LoadGen's summary, detail and accuracy logs, nothing else",
    "accuracy-text": "accuracy.txt states the metric and `hash=` of the full accuracy log",
    "accuracy-size": "the accuracy log is cut to 10 kB; one that is not cut has the stated hash",
    "accuracy-target": "the metric reaches the target stated beside it",
    "performance-files": "`performance/run_1` holds LoadGen's summary and detail logs, nothing else",
    "valid": "LoadGen calls the run VALID",
    "log-errors": "no detail log holds an error",
    "scenario": "the run's scenario is its folder's",
    "seeds": "the three random seeds are the official ones of the LoadGen in use",
    "early-stopping": "LoadGen's early stopping is satisfied (SingleStream, MultiStream, Server)",
    "duration": "a run is set to at least 600 s",
    "offline-samples": "Offline's one query has at least 24,576 samples",
    "compliance-files": "each TESTnn has verify_performance.txt, `performance/run_1`, and for TEST01 answers as well",
    "compliance-pass": "each verification says TEST PASS, and the test's run is VALID",
    "empty": "there is no empty folder",
}
ONLY_OFFICIAL = ("duration", "offline-samples", "compliance-pass", "accuracy-target")
"""Binding in the closed division; the open division takes a folder without them."""

ACCURACY_FILES = frozenset(
    {"accuracy.txt", "mlperf_log_summary.txt", "mlperf_log_detail.txt", "mlperf_log_accuracy.json"}
)
RUN_FILES = frozenset({"mlperf_log_summary.txt", "mlperf_log_detail.txt"})
OPTIONAL_FILES = frozenset({"mlperf_log_trace.json", "mlperf_log_accuracy.json"})
MEASUREMENT_FIELDS = (
    "input_data_types",
    "retraining",
    "starting_weights_filename",
    "weight_data_types",
    "weight_transformations",
)
MEANINGFUL_FIELDS = (
    "division",
    "submitter",
    "system_type",
    "status",
    "system_name",
    "number_of_nodes",
    "host_processor_model_name",
    "host_processors_per_node",
    "host_processor_core_count",
    "host_memory_capacity",
    "host_memory_configuration",
    "host_storage_capacity",
    "host_storage_type",
    "host_networking",
    "host_network_card_count",
    "host_networking_topology",
    "accelerators_per_node",
    "accelerator_model_name",
    "accelerator_memory_capacity",
    "accelerator_host_interconnect",
    "accelerator_memory_configuration",
    "accelerator_interconnect",
    "cooling",
    "framework",
    "operating_system",
    "other_software_stack",
)
SYSTEM_FIELDS = (
    *MEANINGFUL_FIELDS,
    "system_type_detail",
    "host_processor_frequency",
    "host_processor_caches",
    "host_processor_interconnect",
    "accelerator_frequency",
    "accelerator_interconnect_topology",
    "accelerator_on-chip_memories",
    "hw_notes",
    "sw_notes",
)
SYSTEM_TYPES = ("datacenter", "edge", "datacenter,edge", "edge,datacenter")


@dataclass(frozen=True)
class Finding:
    """Something a check found wrong at ``where`` (relative to the folder)."""

    check: str
    where: str
    what: str
    level: Level


@dataclass(frozen=True)
class CheckedFolder:
    """All findings; ``scenarios`` counts the result folders that were looked at."""

    scenarios: int
    findings: list[Finding]

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def passed(self) -> bool:
        return self.scenarios > 0 and not self.errors
