def isas() -> list[str]: ...
def isa() -> str: ...
def select_isa(name: str) -> None: ...
def forward(
    sizes: tuple[int, ...],
    bfloat16: bool,
    wide: bool,
    weights: list[int],
    x_h_0_c_0: tuple[int, ...],
    y_h_n_c_n: tuple[int, ...],
    gates_c: tuple[int, ...],
) -> None: ...
def backward(
    sizes: tuple[int, ...],
    bfloat16: bool,
    weights: list[int],
    x_h_0_c_0_y_gates_c: tuple[int, ...],
    dy_dh_n_dc_n: tuple[int, ...],
    dx_dh_0_dc_0: tuple[int, ...],
    dweights: list[int],
) -> None: ...
