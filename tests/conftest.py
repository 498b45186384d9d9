"""What every test process needs."""

import atexit
import os
import shutil
import signal
import tempfile

import pytest
from hypothesis import settings

from optimizer.attempt import STRICT
from tests.drawing import set_back

# A job started in the background inherits SIGINT as ignored, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# An optional step that fails is left out with a note; in tests, and in the commands they run, it is raised.
os.environ[STRICT] = "1"
# How long an example takes is the machine's affair.
settings.register_profile("enginewright", deadline=None)
settings.load_profile("enginewright")
# Nothing that a test makes is kept for the user's own runs, nor taken from them.
os.environ["ENGINEWRIGHT_CACHE"] = tempfile.mkdtemp(prefix="enginewright-tests-")
atexit.register(shutil.rmtree, os.environ["ENGINEWRIGHT_CACHE"], ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Before any fixture draws."""
    set_back()
