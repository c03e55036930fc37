"""Shared by the tests that need a process of their own."""

import os
import subprocess
import sys


def run_python(code, timeout=120, **env):
    """Run a script in a fresh interpreter, on this one's environment and `env`."""
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env={**os.environ, **env}, capture_output=True, text=True, timeout=timeout
    )
