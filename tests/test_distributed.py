"""DistributedDataParallel and fully_shard, in two processes: as with nn.LSTM."""

from pathlib import Path

import pytest
from process import run_python
from two_processes import CASES, PROCESSES


@pytest.fixture(scope="module")
def done():
    """The script, run once for all cases."""
    code = Path(__file__).with_name("two_processes.py").read_text()
    return run_python(code, timeout=100, GLOO_SOCKET_IFNAME="lo")


@pytest.mark.parametrize("case", CASES)
def test_same_losses_and_gradients_as_with_nn_lstm(case, done):
    assert done.stdout.splitlines().count(case) == PROCESSES, done.stderr[-3000:]
