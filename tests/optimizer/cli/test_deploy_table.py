"""Which option of deploy is for which system: one table, and every option that would change nothing is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from graphs.errors import BadInput
from optimizer.cli.deploy import deploy
from optimizer.cli.deploy_table import SYSTEMS, USED_BY, WITH, check_given
from optimizer.verbs.deploy import SYSTEMS as WRITTEN

FOR_ALL = {"bundle", "system", "out", "context", "help"}


def _app() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command()(deploy)
    return app


def test_every_option_of_the_command_is_in_the_table_and_every_system_is_known() -> None:
    assert {parameter.name for parameter in typer.main.get_command(_app()).params} - FOR_ALL == set(USED_BY)
    assert set(WITH) < set(USED_BY) and {other for others in WITH.values() for other in others} < set(USED_BY)
    assert set(SYSTEMS) == set(WRITTEN) and all(set(systems) < set(SYSTEMS) for systems in USED_BY.values())


@pytest.mark.parametrize("option", sorted(USED_BY))
def test_an_option_is_refused_by_every_system_that_has_no_use_for_it(option: str) -> None:
    flag = f"--{option.replace('_', '-')}"
    given = [option, *WITH.get(option, ())[:1]]
    for system in SYSTEMS:
        if system in USED_BY[option]:
            check_given(system, given)
        else:
            with pytest.raises(BadInput, match=rf"{flag}: is not for {system}\nexpected: optimize deploy BUNDLE \w+"):
                check_given(system, given)


@pytest.mark.parametrize("option", sorted(WITH))
def test_an_option_that_says_how_is_refused_alone(option: str) -> None:
    with pytest.raises(BadInput, match="changes nothing alone") as error:
        check_given("triton", [option])
    assert all(f"--{other.replace('_', '-')}" in error.value.fix for other in WITH[option])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["mig", "--target", "cpu"], "--target: is not for mig"),
        (["card", "--instances", "1"], "--instances: is not for card"),  # its usual value, but given
        (["triton", "--namespace", "a"], "--namespace: is not for triton"),
        (["podman"], "unknown serving system 'podman'"),
    ],
)
def test_it_is_said_before_anything_is_read(words: list[str], told: str, tmp_path: Path) -> None:
    given = [str(tmp_path / "no.bundle"), *words, "-o", str(tmp_path / "out")]
    found = CliRunner().invoke(_app(), given)
    assert isinstance(found.exception, BadInput) and told in str(found.exception)
    assert not (tmp_path / "out").exists()
