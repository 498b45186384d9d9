"""The help names every verb and argument once, in words a user can type."""

from __future__ import annotations

import re

import pytest

from optimizer.cli.main import VERBS, main


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])
    return capsys.readouterr().out


def test_the_commands_help_has_each_verb_under_a_heading(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.findall(r"^  (\w+) {2,}\S", printed(capsys), re.MULTILINE)
    assert sorted(found) == sorted(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_an_argument_has_one_name_and_is_explained(capsys: pytest.CaptureFixture[str], verb: str) -> None:
    text = printed(capsys, verb)
    usage = " ".join(text.split("\n\n")[0].split()).removeprefix(f"Usage: optimize {verb} [OPTIONS]")
    if "Arguments:" not in text:
        assert not usage
        return
    listed = dict(
        re.findall(r"^  (\S+)\s+(\S.*)$", text.split("Arguments:\n")[1].split("\n\n")[0], re.MULTILINE)
    )  # name -> help
    assert set(usage.split()) <= {*listed, *(f"[{name}]" for name in listed)}
    assert "<" not in text.split("Arguments:\n")[1].split("\n\n")[0], "no types of Python"
