"""A script: the C++ kernels on tensors that lie against pages which must not be touched."""

import ctypes
import mmap
from dataclasses import replace

import torch

from fastlstm import functional
from fastlstm.backends import cpu
from fastlstm.verify import Case, make_inputs, make_ours, make_peer, quantities

PAGE = mmap.PAGESIZE
LIBC = ctypes.CDLL(None)
BASE = Case(3, 5, 7, 37, bidirectional=True)
CASES = [
    BASE,
    replace(BASE, proj=19),
    replace(BASE, ragged=True, I=1),
    replace(BASE, T=1, B=3),
    replace(BASE, H=16, I=16),
    replace(BASE, B=1, H=130, I=33),
    replace(BASE, T=60, proj=1),
]
kept = []  # a stray access to a page that has been given back might go unseen


def guarded(shape, dtype, at_end):
    """Memory for a tensor between two such pages, right at the one behind or the one before it."""
    count = torch.Size(shape).numel()
    size = max(1, count) * dtype.itemsize
    room = -(-size // PAGE) * PAGE
    memory = mmap.mmap(-1, room + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (start, start + PAGE + room):
        assert LIBC.mprotect(ctypes.c_void_p(page), PAGE, 0) == 0
    kept.append(memory)
    offset = PAGE + (room - size if at_end else 0)
    tensor = torch.frombuffer(memory, dtype=dtype, count=max(1, count), offset=offset)
    return tensor[:count].view(shape)


def guard_allocations(at_end):
    """From now on torch gives out such memory; nn.LSTM's own come from here too."""

    def empty(*size, dtype=None, **_):
        size = size[0] if size and not isinstance(size[0], int) else size
        return guarded(size, dtype or torch.get_default_dtype(), at_end)

    def new_empty(tensor, *size, dtype=None):
        return empty(*size, dtype=dtype or tensor.dtype)

    torch.empty = empty
    torch.empty_like = lambda tensor, **_: empty(tensor.shape, dtype=tensor.dtype)
    torch.Tensor.new_empty = new_empty


def run(case, at_end):
    """Inference and training on every variant of the kernels."""
    ours, inputs = make_ours(make_peer(case), "cpu"), make_inputs(case)
    for parameter in ours.parameters():
        parameter.data = guarded(parameter.shape, parameter.dtype, at_end).copy_(parameter.data)
    for name, tensor in inputs.items():
        inputs[name] = guarded(tensor.shape, tensor.dtype, at_end).copy_(tensor)
    for isa in cpu.isas():
        with cpu.use_isa(isa):
            for _ in range(2):  # inference packs weights that it has seen before
                quantities(ours, case, inputs)


def run_mapped(case, at_end):
    """The same with a row map, x and the gradient that arrives at y among rows of their own."""
    weights = [parameter.detach() for parameter in make_peer(case).parameters()]
    count, sizes = case.T * case.B, torch.full((case.T,), case.B)
    rows = guarded((count,), torch.int64, at_end).copy_(torch.arange(1, 2 * count, 2).flip(0))
    inputs = make_inputs(case)
    inputs["input"] = torch.ones(2 * count, case.I, dtype=weights[0].dtype)
    inputs["d_output"] = torch.ones(2 * count, inputs["d_output"].shape[-1], dtype=weights[0].dtype)
    placed = [
        guarded(tensor.shape, tensor.dtype, at_end).copy_(tensor).requires_grad_()
        for tensor in (inputs["input"], inputs["h_0"], inputs["c_0"], *weights)
    ]
    dy = guarded(inputs["d_output"].shape, weights[0].dtype, at_end).copy_(inputs["d_output"])
    for isa in cpu.isas():
        with cpu.use_isa(isa):
            for grad in (False, True):
                with torch.set_grad_enabled(grad):
                    y, *_ = functional.lstm(
                        *placed[:3], placed[3:], sizes, rows, num_layers=case.layers, backend="cpu"
                    )
            torch.autograd.grad(y, placed, dy)


if __name__ == "__main__":
    for at_end in (True, False):
        guard_allocations(at_end)
        for case in CASES:
            for dtype in ("float32", "bfloat16"):
                run(replace(case, dtype=dtype), at_end)
                run_mapped(replace(case, dtype=dtype), at_end)
    print("untouched", len(kept))
