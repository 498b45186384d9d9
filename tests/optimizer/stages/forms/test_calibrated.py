"""What a calibration beside another one does once that other one has failed, or the user asked to stop."""

from __future__ import annotations

from threading import Event

import pytest

from optimizer.events import Detail, Events
from optimizer.stages.forms.calibrated import until_stopped


def test_what_is_said_of_progress_ends_the_work_once_it_is_to_stop() -> None:
    seen: list[object] = []
    stop = Event()
    say = until_stopped(stop, Events(seen.append))
    say(Detail("again-cpu", "checking the ranges"))
    assert seen == [Detail("again-cpu", "checking the ranges")]
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        say(Detail("again-cpu", "rounding weights"))
    assert len(seen) == 1
