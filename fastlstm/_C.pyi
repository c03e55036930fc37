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
    weight_hh: tuple[int, int],
    bias: tuple[int, int],
    h_0: int,
    c_0: int,
    gates: int,
    y: int,
    c: int,
    h_n: int,
    c_n: int,
    /,
) -> None: ...
def backward(
    steps: int,
    batch: int,
    hidden: int,
    directions: int,
    offsets: int,
    threads: int,
    weight_hh: tuple[int, int],
    c_0: int,
    gates: int,
    c: int,
    dy: int,
    dh_n: int,
    dgates: int,
    dh_0: int,
    dc_0: int,
    /,
) -> None: ...
