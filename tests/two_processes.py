"""A script: models under torch.distributed's wrappers, in two processes, ours beside nn.LSTM's.

Prints the name of each case that came out right, once a process.
"""

import contextlib
import datetime
import os
import sys
import tempfile
import traceback
import warnings

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.rnn import pack_padded_sequence

import fastlstm

PROCESSES = 2
T, B, I, H = 5, 3, 8, 256  # so large that gradients lie in memory that the kernels keep


class Model(nn.Module):
    """Gives its loss; with an LSTM that is never called, or a weight that does not learn."""

    def __init__(self, package, spare=False, frozen=False, sizes=H, **config):
        super().__init__()
        self.lstm = package.LSTM(I, sizes, 2, **config)
        if spare:
            self.spare = package.LSTM(I, 7)
        if frozen:
            self.lstm.weight_hh_l0.requires_grad_(False)
        self.head = nn.Linear(H * (1 + self.lstm.bidirectional), 3)

    def forward(self, x):
        y, (_, c) = self.lstm(x)
        y = y if isinstance(y, torch.Tensor) else y.data
        return self.head(y).square().mean() + c[-1].sin().mean()


def ddp(model, mesh, **options):
    return DistributedDataParallel(model, **options)


def fsdp(model, mesh, each=False, **options):
    if each:
        fully_shard(model.lstm, mesh=mesh, **options)
    return fully_shard(model, mesh=mesh, **options)


# How a model is wrapped, with which options, what it is, and how it is fed.
CASES = {
    "ddp": (ddp, {}, {}, ""),
    "ddp both ways": (ddp, {}, {"bidirectional": True, "bias": False}, ""),
    "ddp packed": (ddp, {}, {}, "packed"),
    "ddp frozen": (ddp, {}, {"frozen": True}, ""),
    "ddp sizes": (ddp, {}, {"sizes": [H, H]}, ""),
    "ddp small buckets": (ddp, {"bucket_cap_mb": 0.01}, {}, ""),
    "ddp no_sync": (ddp, {}, {}, "no_sync"),
    "ddp gradient_as_bucket_view": (ddp, {"gradient_as_bucket_view": True}, {}, ""),
    "ddp bucket views no_sync": (ddp, {"gradient_as_bucket_view": True}, {}, "no_sync"),
    "ddp static_graph": (ddp, {"static_graph": True}, {}, ""),
    "ddp find_unused_parameters": (ddp, {"find_unused_parameters": True}, {"spare": True}, ""),
    "ddp static_graph unused": (ddp, {"static_graph": True}, {"spare": True}, ""),
    "fsdp": (fsdp, {}, {}, ""),
    "fsdp of the LSTM": (fsdp, {"each": True}, {}, ""),
    "fsdp packed": (fsdp, {"each": True}, {}, "packed"),
    "fsdp no reshard": (fsdp, {"each": True, "reshard_after_forward": False}, {}, ""),
    "fsdp unused": (fsdp, {"each": True}, {"spare": True}, ""),
    "fsdp sizes": (fsdp, {"each": True}, {"sizes": [H, H]}, ""),
    "fsdp bfloat16": (
        fsdp, {"each": True, "mp_policy": MixedPrecisionPolicy(param_dtype=torch.bfloat16)}, {}, ""
    ),
}  # fmt: skip


def make_input(rank, step, how):
    x = torch.randn(T, B, I, generator=torch.Generator().manual_seed(10 * step + rank))
    return pack_padded_sequence(x, [T, 3, 1 + rank]) if how == "packed" else x


def make_model(package, options):
    torch.manual_seed(0)
    if package is nn and "sizes" in options:
        options = options | {"sizes": H}
    return Model(package, **options)


def gradients(model):
    grads = {name.removeprefix("module."): p.grad for name, p in model.named_parameters()}
    whole = {n: d.full_tensor() if hasattr(d, "full_tensor") else d for n, d in grads.items()}
    return {name: None if d is None else d.clone() for name, d in whole.items()}


def train(package, case, rank, mesh):
    """Losses and gradients of three steps, and what the model gives without autograd."""
    wrap, options, of_model, how = CASES[case]
    model = wrap(make_model(package, of_model), mesh, **options)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    seen = []
    for step in range(3):
        optimizer.zero_grad(set_to_none=step == 1)
        if how == "no_sync":
            with model.no_sync():
                model(make_input(rank, 7 + step, how)).backward()
        loss = model(make_input(rank, step, how))
        loss.backward()
        seen.append({"loss": loss.detach()} | gradients(model))
        optimizer.step()
    with torch.no_grad():
        seen.append({"loss": model(make_input(rank, 3, how))})
    return seen


def expected(case):
    """The gradients of the first step, in one process, which has what all are fed with."""
    _, _, of_model, how = CASES[case]
    model = make_model(nn, of_model).double()
    for step in [0, 7] if how == "no_sync" else [0]:
        losses = [model(make_input(rank, step, how).double()) for rank in range(PROCESSES)]
        torch.stack(losses).mean().backward()
    return gradients(model)


def check(case, rank, mesh):
    ours, theirs = (train(package, case, rank, mesh) for package in (fastlstm, nn))
    wide = {"rtol": 0.05, "atol": 1e-3} if case.endswith("bfloat16") else {}
    for got, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, other, **wide)
    for name, exact in expected(case).items():
        got = ours[0][name]
        if exact is None:
            assert got is None or not got.any(), name
        else:
            scale = exact.abs().max().item()
            near = {"rtol": 0, "atol": (1e-2 if wide else 1e-5) * scale}
            torch.testing.assert_close(got.double(), exact, **near)


def work(rank, file):
    dist.init_process_group(
        "gloo", init_method=f"file://{file}", rank=rank, world_size=PROCESSES,
        timeout=datetime.timedelta(seconds=30),
    )  # fmt: skip
    mesh = init_device_mesh("cpu", (PROCESSES,))
    for case in CASES:
        check(case, rank, mesh)
        os.write(1, f"{case}\n".encode())  # whole, whatever the other writes
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for rank in range(PROCESSES):
            children.append(os.fork())
            if children[-1] == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    try:
                        work(rank, f"{folder}/meeting")
                        status = 0
                    except Exception:
                        traceback.print_exc()
                sys.stderr.flush()
                os._exit(status)
        sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
