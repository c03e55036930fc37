"""The long format: one figure a row, with everything it depends on; files of such rows."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fastlstm.bench.case import Case

BASELINE = "nn.LSTM"  # the provider that every ratio is to


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure of one provider.

    provider: `nn.LSTM`, `fastlstm cpu`, `LSTMCell loop`, ...; `machine` for a measured limit.
    auto: whether this is the backend that `fastlstm.LSTM` takes by default.
    measure: `inference`, `forward`, `forward+backward`, `decode`, `training step`; of the machine
        `gemm` and `gemv`.
    metric, unit: `time` in ms (decode: us), `peak memory` and `saved for backward` in bytes,
        `speed` in tokens/s, `rate` in GFLOP/s or GB/s.
    p20, p50, p80: of `rounds` values.
    ratio: how many times better than nn.LSTM, the median over the rounds; above 1 is better.
        ratio_p20, ratio_p80: its spread. None where nn.LSTM was not measured.
    gemm_share: FLOP/s of the work over those of a large GEMM of the same dtype.
    floor: a bound from the measured limits, in `unit`: an empty call, and the longer of the
        products at the GEMM's rate and the reading of large recurrent weights at each step, in
        the dtype that they are kept in.
    """

    provider: str
    auto: bool = False
    measure: str
    I: int
    H: int
    layers: int
    B: int
    T: int
    directions: int = 1
    lengths: str = "padded"  # or "ragged"
    dtype: str = "float32"
    metric: str
    unit: str
    p20: float
    p50: float
    p80: float
    rounds: int
    ratio: float | None = None
    ratio_p20: float | None = None
    ratio_p80: float | None = None
    gemm_share: float | None = None
    floor: float | None = None
    device: str
    cpu: str
    load: float | None  # the system's load average when the run began
    tf32: bool  # whether nn.LSTM multiplies float32 with 10 bits there
    threads: int
    cpu_isa: str
    clock_mhz: float | None
    torch: str
    triton: str
    cudnn: str
    onednn: str
    fastlstm: str
    commit: str
    date: str
    run: str  # when the run began, ISO 8601: the rows of one run share it

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """(I, H, layers, B, T)."""
        return self.I, self.H, self.layers, self.B, self.T

    @property
    def case(self) -> Case:
        """What it measures."""
        return Case(*self.shape, self.directions == 2, self.lengths == "ragged", self.dtype)


def _parse(kind: str, text: str) -> Any:
    """A cell of the file as the field's type."""
    if text == "" and kind.endswith("None"):
        return None
    if kind == "bool":
        return text == "True"
    return {"int": int, "str": str}.get(kind, float)(text)


def _format(value: object) -> object:
    return f"{value:.5g}" if isinstance(value, float) else value


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Append rows to a CSV file, which begins with the names of the fields.

    ValueError if there is another file already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    if not new:
        _check_header(path)
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        if new:
            writer.writeheader()
        for row in rows:
            writer.writerow({name: _format(value) for name, value in asdict(row).items()})


def _check_header(path: Path) -> None:
    with path.open(newline="") as file:
        if next(csv.reader(file), None) != [field.name for field in fields(Row)]:
            raise ValueError(f"{path} is not a file of benchmark rows: its columns differ")


def read_rows(path: Path) -> list[Row]:
    """The rows of a file. ValueError if it is not one of these."""
    kinds = {field.name: str(field.type) for field in fields(Row)}
    _check_header(path)
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        return [Row(**{k: _parse(kinds[k], v) for k, v in line.items()}) for line in reader]


def last_run(rows: Iterable[Row]) -> list[Row]:
    """The rows of the run that began last."""
    rows = list(rows)
    latest = max((row.run for row in rows), default="")
    return [row for row in rows if row.run == latest]
