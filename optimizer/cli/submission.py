"""``optimize submission BUNDLE -o DIR``: the official folder layout, really run, and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from optimizer.cli.model import EVALUATE
from optimizer.cli.options.words import ENGINE, FUNCTION


def submission(
    path: Annotated[
        Path,
        Argument(
            metavar="BUNDLE|FOLDER",
            help="The bundle to measure; with --check, the folder to look at.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None, Option("-o", "--out", metavar="DIR", help="Folder to write.", show_default=False)
    ] = None,
    evaluate: Annotated[str, Option(metavar=FUNCTION, help=EVALUATE)] = "",
    target: Annotated[
        str | None,
        Option(metavar="TARGET", help=ENGINE),
    ] = None,
    scenario: Annotated[
        str, Option(metavar="SCENARIOS", help="Scenarios to run, comma-separated.")
    ] = "offline,singlestream",
    tests: Annotated[str, Option(metavar="TESTS", help="Compliance tests to run, comma-separated.")] = "TEST01,TEST04",
    task: Annotated[
        str, Option(metavar="NAME", help="Name of the benchmark in the folder. Default: the model's.")
    ] = "",
    mlperf: Annotated[
        str, Option(metavar="resnet50|…", help="Use LoadGen's official settings of this task (600 s per run).")
    ] = "",
    division: Annotated[str, Option(metavar="open|closed", help="open or closed.")] = "open",
    submitter: Annotated[str, Option(metavar="NAME", help="Name of the submitter in the folder.")] = "unverified",
    system: Annotated[
        str, Option(metavar="NAME", help="Name of the system in the folder. Default: made from the hardware.")
    ] = "",
    system_type: Annotated[str, Option(metavar="edge|datacenter", help="edge or datacenter.")] = "edge",
    duration: Annotated[float, Option(metavar="SECONDS", help="Length of each run.")] = 10.0,
    qps: Annotated[
        float | None,
        Option(metavar="N", help="Server: queries per second to send. Default: 60 % of what the engine can take."),
    ] = None,
    server_latency: Annotated[
        float, Option(metavar="MS", help="Server: latency bound for the 99th percentile.")
    ] = 100.0,
    check: Annotated[bool, Option("--check", help="Only check a folder that is there.")] = False,
    json: Annotated[bool, Option("--json", help="Print one JSON document.")] = False,
) -> int:
    """Write and check a folder in MLPerf's submission layout.

    Runs LoadGen on a bundle's engine. Nothing in the folder is an MLPerf result: MLCommons has not reviewed it.
    """
    import sys

    from benchmarks.submission.checker import check_submission
    from graphs.errors import BadInput
    from graphs.files import to_json
    from optimizer.cli.output.printing import console
    from optimizer.settings.given import listed
    from optimizer.verbs.submission import SubmissionOptions, make_submission, render_check, render_outcome

    out_console = console()
    if check:
        checked = check_submission(path)
        if json:
            sys.stdout.buffer.write(to_json(checked))
        else:
            render_check(checked, out_console)
        return 0 if checked.passed else 1
    if out is None:
        raise BadInput("nowhere to write", where="submission", fix="give a folder with -o")
    options = SubmissionOptions(
        evaluate=evaluate,
        target=target,
        task=task,
        scenarios=listed(scenario),
        tests=listed(tests),
        division=division,
        submitter=submitter,
        system=system,
        system_type=system_type,
        duration=duration,
        server_latency_ms=server_latency,
        qps=qps,
        official=mlperf,
    )
    outcome, checked = make_submission(path, out, options, lambda text: print(text, file=sys.stderr))
    if json:
        sys.stdout.buffer.write(to_json({"outcome": outcome, "checks": checked}))
    else:
        render_outcome(outcome, out_console)
        render_check(checked, out_console)
    return 0 if checked.passed else 1
