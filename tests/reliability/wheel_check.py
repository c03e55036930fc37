"""What an installed wheel must be: cibuildwheel runs it in a bare environment of each Python."""

from pathlib import Path

import torch

import fastlstm
from fastlstm.backends import cpu

x = torch.randn(35, 8, 64)
ours = fastlstm.LSTM(64, 512, backend="cpu")
theirs = torch.nn.LSTM(64, 512)
theirs.load_state_dict(ours.state_dict())
torch.testing.assert_close(ours(x)[0], theirs(x)[0])
lines = Path("/proc/self/maps").read_text().splitlines()
runtimes = {line.split()[-1] for line in lines if "libgomp" in line}
assert len(runtimes) == 1, f"more than one OpenMP runtime: {runtimes}"
print(f"fastlstm {fastlstm.__version__} in {Path(fastlstm.__file__).parent}")
print(f"kernels {', '.join(cpu.isas())}; OpenMP of {runtimes.pop()}")
