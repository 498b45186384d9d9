"""Becomes a tritonserver: ``python -m deployment.triton.server.exec_server BINARY OPTION...``.

Run as a child (``engines.processes.child_process``), whose session and whose death with its parent outlive the
``exec``.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    os.chdir("/")  # Triton's Python backend looks for modules in the working folder first: a user's are not ours
    os.execv(sys.argv[1], sys.argv[1:])
