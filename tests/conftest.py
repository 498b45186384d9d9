"""What every test process needs."""

import os
import signal

from hypothesis import settings

from optimizer.attempt import STRICT

# A job started in the background inherits SIGINT as ignored, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
# An optional step that fails is left out with a note; in tests, and in the commands they run, it is raised.
os.environ[STRICT] = "1"
# How long an example takes is the machine's affair.
settings.register_profile("enginewright", deadline=None)
settings.load_profile("enginewright")
