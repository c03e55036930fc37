"""Calls of fastlstm's kernels on a device, and the comparison of their results, bit by bit."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fastlstm import backends
from fastlstm.verify import make_ours
from fastlstm.verify_cases import DTYPES, Case, make_inputs, make_peer

DEVICE_DTYPES = {"cpu": ("float32",), "cuda": ("float32", "bfloat16", "float16")}
BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # of the same size

Results = dict[str, Tensor]


def kernel_backends(device: str, dtype: str) -> list[str]:
    """The backends that run the dtype there on kernels of fastlstm."""
    problem = backends.Problem(device, DTYPES[dtype], 0)
    found = [backends.get(name) for name in backends.names()]
    return [b.name for b in found if not b.differentiable and b.why_not(problem) is None]


class Difference(Exception):
    """Two results that had to be the same are not; says which and where."""


class Call:
    """An LSTM on one backend, and everything that it is called on, on the device."""

    def __init__(self, case: Case, backend: str, device: str) -> None:
        self.case, self.backend, self.device = case, backend, device
        self.module = make_ours(make_peer(case).to(device), backend)
        inputs = {name: tensor.to(device) for name, tensor in make_inputs(case).items()}
        self.packing = None
        if case.ragged:  # packed here, as that copies from the CPU, which no graph can capture
            self.packing = pack_padded_sequence(inputs["input"], case.lengths(), False, False)
            inputs["input"] = self.packing.data
        self.leaves = {name: inputs[name].requires_grad_() for name in ("input", "h_0", "c_0")}
        self.arriving = [inputs[name] for name in ("d_output", "d_h_n", "d_c_n")]

    def __str__(self) -> str:
        dtype = " float32" * (self.case.dtype == "float32")  # which a case leaves out
        return f"{self.backend} on {self.device}, {self.case}{dtype}"

    def forward(self) -> Results:
        """The results without autograd."""
        with torch.no_grad():
            return {f"{name} without grad": y for name, y in self._outputs().items()}

    def training(self) -> Results:
        """The results with autograd, and the gradient of every input and parameter."""
        outputs = self._outputs()
        leaves = self.leaves | dict(self.module.named_parameters())
        grads = torch.autograd.grad(list(outputs.values()), list(leaves.values()), self.arriving)
        results = {name: y.detach() for name, y in outputs.items()}
        return results | {f"grad {name}": d for name, d in zip(leaves, grads, strict=True)}

    def both(self) -> Results:
        """The results without and with autograd."""
        return self.forward() | self.training()

    def change_inputs(self) -> None:
        """Gives the inputs, where they are, other values."""
        with torch.no_grad():
            for tensor in (*self.leaves.values(), *self.arriving):
                tensor.copy_(tensor.flip(0) * 0.5)

    def _outputs(self) -> Results:
        x: Tensor | PackedSequence = self.leaves["input"]
        if self.packing is not None:
            x = self.packing._replace(data=self.leaves["input"])
        output, (h_n, c_n) = self.module(x, (self.leaves["h_0"], self.leaves["c_0"]))
        y = output.data if isinstance(output, PackedSequence) else output
        return {"output": y, "h_n": h_n, "c_n": c_n}


def compare(got: Results, expected: Results, where: str) -> None:
    """Difference unless all bits are the same."""
    for name, right in expected.items():
        a, b = (t.contiguous().view(BITS[t.itemsize]) for t in (got[name], right))
        if not torch.equal(a, b):
            count = int((a != b).sum())
            raise Difference(f"{where}: {name} differs in {count} of {right.numel()} elements")


def keep(results: Results, where: str) -> Results:
    """A copy of results that others are held against. Difference if one is not finite."""
    for name, tensor in results.items():
        if not tensor.isfinite().all():
            raise Difference(f"{where}: {name} is not finite")
    return {name: tensor.clone() for name, tensor in results.items()}
