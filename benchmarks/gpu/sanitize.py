"""Small calls of fastlstm's kernels, for compute-sanitizer to watch: nothing is compared here.

`python benchmarks/gpu/sanitize.py [--device cuda] [--list]`; `--list` only names the backends. Exit
code 77: there are none.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import torch
from calls import DEVICE_DTYPES, Call, kernel_backends

from fastlstm.verify_cases import Case

NOTHING = 77
CASES = (
    Case(3, 2, 5, 7),
    Case(8, 4, 16, 128),
    Case(8, 17, 16, 256),
    Case(5, 3, 9, 33, layers=2, bidirectional=True, ragged=True),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=tuple(DEVICE_DTYPES), default="cuda")
    parser.add_argument("--list", action="store_true", help="only name the backends")
    args = parser.parse_args()
    place = "GPU" if args.device == "cuda" else "CPU"
    found = [(b, d) for d in DEVICE_DTYPES[args.device] for b in kernel_backends(args.device, d)]
    if not found:
        print(f"no {place} kernels of fastlstm yet: nothing to sanitize")
        return NOTHING
    if args.list:
        print(f"{place} kernels:", ", ".join(f"{backend} {dtype}" for backend, dtype in found))
        return 0
    for backend, dtype in found:
        for case in CASES:
            call = Call(replace(case, dtype=dtype), backend, args.device)
            call.both()
            if args.device == "cuda":
                torch.cuda.synchronize()
            print(f"{call}: ran", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
