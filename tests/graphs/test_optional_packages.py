"""A package that only some work needs: what is said of one that is here in part."""

from __future__ import annotations

from pathlib import Path

import pytest

from graphs.errors import BadInput
from graphs.optional_packages import optional


@pytest.mark.parametrize("raised", ["ImportError", "OSError", "RuntimeError"])
def test_a_package_that_is_here_in_part_says_what_it_lacks(
    raised: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As tritonclient does without its own extras, and a wheel whose library is not on the machine."""
    (tmp_path / f"half_{raised.lower()}.py").write_text(f"raise {raised}('libhalf.so is missing')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadInput, match=r"which cannot be imported: libhalf\.so is missing"):
        optional(f"half_{raised.lower()}", "serve", "this")


def test_what_is_here_is_given() -> None:
    assert optional("json", "serve", "this").loads("[1]") == [1]
