"""CUDA graphs of functions that launch many small kernels: one launch instead of thousands.

A graph has the addresses of the tensors it was captured with. So it has tensors of its own: what
comes in is copied to them, what goes out from them.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence

import torch
from torch import Tensor

MOST = 8  # calls remembered, and their graphs; those not used for longest go first
MOST_BYTES = 64 << 20  # of a graph's own tensors: with more the kernels are long, not many

_lock = threading.Lock()
_graphs: OrderedDict[Hashable, Graph | None] = OrderedDict()


class Graph:
    """A function captured on tensors of its own."""

    def __init__(self, function: Callable[..., None], tensors: Sequence[Tensor]) -> None:
        self.own = [torch.empty_like(tensor) for tensor in tensors]
        function(*self.own)  # kernels that are loaded first may not be captured
        self.replay = capture(lambda: function(*self.own), tensors[0].device)


def capture(function: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """What launches on the device all that the function did, on the current stream.

    On a stream of that device, and with a workspace of cuBLAS that no other graph has.
    """
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    torch._C._cuda_clearCublasWorkspaces()
    with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
        function()
    torch._C._cuda_clearCublasWorkspaces()
    return graph.replay


def run(
    function: Callable[..., None],
    key: Hashable,
    sources: Sequence[Tensor],
    results: Sequence[Tensor],
) -> None:
    """Calls ``function(*sources, *results)``: from the second call with a key on, as a graph.

    The function reads `sources`, writes `results`, and launches the same for the same key and
    tensors of the same shapes and dtypes.
    """
    tensors = (*sources, *results)
    size = sum(tensor.numel() * tensor.itemsize for tensor in tensors)
    if size > MOST_BYTES or not usable(tensors[0].device):
        function(*tensors)
        return
    stream = torch.cuda.current_stream(tensors[0].device).cuda_stream
    key = key, stream, *((tensor.shape, tensor.dtype, tensor.device) for tensor in tensors)
    with _lock:  # the graph's own tensors are one call's from first to last
        if key not in _graphs:
            _keep(key, None)
            function(*tensors)
            return
        graph = _graphs[key] or Graph(function, tensors)
        _keep(key, graph)
        for own, tensor in zip(graph.own, sources, strict=False):
            own.copy_(tensor)
        graph.replay()
        for own, tensor in zip(graph.own[len(sources) :], results, strict=True):
            tensor.copy_(own)


def usable(device: torch.device) -> bool:
    """Whether work of the device can be captured: not if it already is."""
    return device.type == "cuda" and not torch.cuda.is_current_stream_capturing()


def _keep(key: Hashable, graph: Graph | None) -> None:
    _graphs[key] = graph
    _graphs.move_to_end(key)
    if len(_graphs) > MOST:
        _graphs.popitem(last=False)
