"""The entry point: ``optimize MODEL.onnx …`` is the main job, a first word that is a verb selects that verb."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

import typer

from graphs.errors import EnginewrightError, check_text
from optimizer.cli import (
    bench,
    cache,
    compare,
    demo,
    deploy,
    doctor,
    explain,
    fleet,
    inspect,
    model,
    plaster,
    serve,
    submission,
    together,
    update,
    verify,
)
from optimizer.cli.options.panels import Grouped, Verbs
from optimizer.cli.process.endings import Terminated
from optimizer.cli.process.invoked import remember
from optimizer.cli.process.isolated import BAD_INPUT, run_isolated

MAIN_JOB = "model"
INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""

_PANELS: dict[str, dict[str, Callable[..., int]]] = {
    "Make engines": {
        MAIN_JOB: model.main_job,
        "update": update.update,
        "fleet": fleet.fleet,
        "demo": demo.demo,
    },
    "Look": {
        "inspect": inspect.inspect,
        "explain": explain.explain,
    },
    "Measure and check": {
        "bench": bench.bench,
        "compare": compare.compare,
        "verify": verify.verify,
        "plaster": plaster.plaster,
        "together": together.together,
        "submission": submission.submission,
    },
    "Hand over": {
        "deploy": deploy.deploy,
        "serve": serve.serve,
    },
    "This machine": {
        "doctor": doctor.doctor,
        "cache": cache.cache,
    },
}
VERBS = {name: verb for panel in _PANELS.values() for name, verb in panel.items()}
_WIDTH = 100
"""Columns of help at most, on a terminal that has them. Chosen."""
TOP_LEVEL = ("--help", "-h", "--version")


def main(arguments: list[str] | None = None) -> None:
    """Exit codes: 0 done · 1 failed · 2 usage or bad input · 3 over budget · 4 some targets only · 130 interrupted.

    As the command it runs in a child process (see ``isolated``); called with ``arguments``, in this one.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    remember(given)
    if code := _told(lambda: _checked_texts(given)):
        raise SystemExit(code)
    if given and given[0] not in VERBS and given[0] not in TOP_LEVEL:
        if meant := _verb_meant(given[0]):
            raise SystemExit(_say(f"{given[0]}: no such verb, and no such file\nfix: optimize {meant}", BAD_INPUT))
        given = [MAIN_JOB, *given]
    application(isolate=arguments is None)(args=given, prog_name="optimize")


def _checked_texts(given: list[str]) -> int:
    for argument in given:
        check_text(argument)
    return 0


def _verb_meant(word: str) -> str:
    """The verb that a misspelt first word is like; empty for what may be a model."""
    if word.startswith("-") or os.path.lexists(word) or "." in word or os.sep in word:
        return ""
    import difflib

    return next(iter(difflib.get_close_matches(word, VERBS, n=1)), "")


class _Verbs(Verbs):
    panels = {title: tuple(verbs) for title, verbs in _PANELS.items()}  # noqa: RUF012 (never changed)


def application(*, isolate: bool) -> typer.Typer:
    """The command with all its verbs; each runs in a child process with ``isolate``."""
    app = typer.Typer(
        cls=_Verbs,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": _WIDTH},
        help="""From an ONNX model to proven inference engines.

        `optimize MODEL.onnx --precision int8` is the main job: import, calibrate, type the graph, build engines,
        check accuracy against FP32, measure with MLPerf LoadGen, write a bundle.
        `optimize model --help` lists its options.
        """,
    )
    app.callback(invoke_without_command=True)(_root)
    for name, verb in VERBS.items():
        app.command(name, cls=Grouped)(_exiting(verb, isolate))
    return app


def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from optimizer.version import version as installed

        print(f"enginewright {installed()}")
        raise typer.Exit


def _exiting(verb: Callable[..., int], isolate: bool) -> Callable[..., None]:
    """``verb`` with its exit code raised, and every expected failure as one message on standard error."""

    @functools.wraps(verb)
    def command(*arguments: object, **options: object) -> None:
        def work() -> int:
            return _told(lambda: verb(*arguments, **options))

        raise typer.Exit(_told(lambda: run_isolated(work)) if isolate else work())

    return command


def _told(work: Callable[[], int]) -> int:
    try:
        return work()
    except Terminated:
        raise
    except KeyboardInterrupt:
        return _say("interrupted; run the same command again to continue", INTERRUPTED)
    except EnginewrightError as error:
        return _say(str(error), error.exit_code)


def _say(message: str, code: int) -> int:
    first, *rest = message.splitlines()
    print(f"optimize: {first}", *[f"  {line}" for line in rest], sep="\n", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
