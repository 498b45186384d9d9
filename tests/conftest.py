"""What every test process needs."""

import signal

# A job started in the background inherits SIGINT as ignored, and so would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
