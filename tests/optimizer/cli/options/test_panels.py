"""The help of verbs with many options: each says what it is, and stands with those it belongs to."""

from __future__ import annotations

import typer
import typer.main
from typer.testing import CliRunner

from optimizer.cli import deploy
from optimizer.cli.main import VERBS
from optimizer.cli.options import mig, triton
from optimizer.cli.options.panels import Grouped


def _app(*verbs: str) -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None)
    for verb in verbs:
        app.command(verb, cls=Grouped)(VERBS[verb])
    return app


def test_options_stand_with_what_they_are_for() -> None:
    text = CliRunner().invoke(_app(deploy.deploy.__name__), ["--help"]).stdout
    titles = [line[:-1] for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert titles[:2] == ["Arguments", "Options"]
    assert {triton.PANEL, triton.ALONE, mig.PANEL} < set(titles[2:])
    assert text.index("--out") < text.index(f"{triton.PANEL}:") < text.index("--instances")
    assert text.index(f"{triton.ALONE}:") < text.index("--check") < text.index(f"{mig.PANEL}:")


def test_every_option_says_what_it_is() -> None:
    found = typer.main.get_command(_app(*VERBS)).commands  # type: ignore[attr-defined]
    assert set(found) == set(VERBS)
    options = [(verb, option) for verb, made in found.items() for option in made.params if "--" in str(option.opts)]
    assert options and [(verb, option.name) for verb, option in options if not option.help] == []
