from collections.abc import Callable, Sequence

from torch import Tensor

def isas() -> list[str]: ...
def isa() -> str: ...
def select_isa(name: str) -> None: ...
def forward(
    sizes: tuple[int, ...],
    bfloat16: bool,
    held: str,
    kept: PackedWeights | None,
    weights: list[int],
    x_h_0_c_0: tuple[int, ...],
    y_h_n_c_n: tuple[int, ...],
    gates_c_below_dropped: tuple[int, ...],
    rates: tuple[float, ...],
    seed: int | None,
) -> None: ...
def backward(
    sizes: tuple[int, ...],
    bfloat16: bool,
    weights: list[int],
    x_h_0_c_0_y_gates_c_below_dropped: tuple[int, ...],
    dy_dh_n_dc_n: tuple[int, ...],
    dx_dh_0_dc_0: tuple[int, ...],
    dweights: list[int],
    rates: tuple[float, ...],
    seed: int | None,
) -> None: ...
def misfit(rows: int, count: int, room: int) -> int: ...

class Direct:
    def __init__(
        self, tensor: type, empty_like: Callable[..., object], most_elements: int
    ) -> None: ...
    def forward(
        self,
        x: Tensor,
        h_0: Tensor,
        c_0: Tensor,
        weights: Sequence[Tensor],
        num_layers: int,
        save: bool,
        threads: int,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None] | None: ...
    def backward(
        self,
        arriving: tuple[Tensor | None, ...],
        x: Tensor,
        h_0: Tensor,
        c_0: Tensor,
        weights: Sequence[Tensor],
        num_layers: int,
        kept: tuple[Tensor | None, ...],
        needs_dx: bool,
        needs_dweights: Sequence[bool],
        threads: int,
    ) -> tuple[Tensor | None, Tensor, Tensor, list[Tensor | None]] | None: ...

class PackedWeights:
    def __init__(
        self, sizes: tuple[int, ...], held: str, noisy: bool, weights: list[int]
    ) -> None: ...

def pooled_tensor(shape: Sequence[int], bfloat16: bool) -> object: ...

class Stream:
    def __init__(
        self,
        batch: int,
        input_size: int,
        hidden: int,
        projection: int,
        layers: int,
        bfloat16: bool,
        held: str,
        zoneout_c: float,
        zoneout_h: float,
    ) -> None: ...
    def set_weights(self, layer: int, weights: list[int]) -> None: ...
    def advance(self, x: int, y: int, steps: int, threads: int) -> None: ...
    def read_state(self, h: int, c: int) -> None: ...
    def write_state(self, h: int, c: int) -> None: ...
