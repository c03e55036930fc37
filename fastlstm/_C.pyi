def isas() -> list[str]: ...
def isa() -> str: ...
def select_isa(name: str) -> None: ...
def forward(
    steps: int,
    batch: int,
    hidden: int,
    directions: int,
    offsets: int,
    threads: int,
    input: int,
    x: int,
    weight_ih: tuple[int, int],
    weight_hh: tuple[int, int],
    bias: tuple[int, int],
    *h_0_c_0_gates_y_c_h_n_c_n: int,
) -> None: ...
def backward(
    steps: int,
    batch: int,
    hidden: int,
    directions: int,
    offsets: int,
    threads: int,
    weight_hh: tuple[int, int],
    *c_0_gates_c_dy_dh_n_dgates_dh_0_dc_0: int,
) -> None: ...
