"""Which option of deploy is for which system: one table, and every option that would change nothing is refused."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from graphs.errors import BadInput
from optimizer.cli.deploy import deploy
from optimizer.verbs.deploy.bundle import deploy_bundle
from optimizer.verbs.deploy.table import ARGUMENTS, SYSTEMS, USED_BY, WITH, check_arguments, check_given

FOR_ALL = {"bundle", "system", "out", "context", "help"}


def _app() -> typer.Typer:
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command()(deploy)
    return app


def test_every_option_of_the_command_is_in_the_table_and_every_system_is_known() -> None:
    assert {parameter.name for parameter in typer.main.get_command(_app()).params} - FOR_ALL == set(USED_BY)
    assert set(WITH) < set(USED_BY) and {other for others in WITH.values() for other in others} < set(USED_BY)
    assert all(set(systems) < set(SYSTEMS) for systems in USED_BY.values())


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


def test_from_python_the_same_is_refused(tmp_path: Path) -> None:
    keywords = {name for name, said in signature(deploy_bundle).parameters.items() if said.kind is said.KEYWORD_ONLY}
    assert set(ARGUMENTS) == keywords
    with pytest.raises(BadInput, match=r"deploy\(key=…\): is not for triton\nexpected: one of archive, oci"):
        deploy_bundle(tmp_path / "no.bundle", "triton", tmp_path / "out", key=tmp_path / "key.pem")
    for argument, options in ARGUMENTS.items():
        for system in SYSTEMS:
            if any(system in USED_BY[option] for option in options):
                check_arguments(system, [argument])


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
