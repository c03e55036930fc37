"""`python benchmarks/regression [COMMIT]`: see compare.py."""

import signal
import sys

from compare import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception: worktrees are removed
    sys.exit(main())
