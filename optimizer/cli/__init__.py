"""The ``optimize`` command. It parses and prints; the work is done by the Python API."""
