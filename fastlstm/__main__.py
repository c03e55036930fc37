"""`python -m fastlstm`: the command `fastlstm`, for torchrun and where it is not on the path."""

import sys

from fastlstm.cli import main

if __name__ == "__main__":
    sys.exit(main())
