"""An LSTM layer on custom kernels that stands where `torch.nn.LSTM` stood."""

from fastlstm import check_interpreter as _check_interpreter  # noqa: F401 - before torch
from fastlstm import exported as _exported
from fastlstm import quantization as _quantization
from fastlstm.cell import LSTMCell
from fastlstm.convert import convert, quantize, restore
from fastlstm.lstm import LSTM

__version__ = "0.1.0"

__all__ = ["LSTM", "LSTMCell", "__version__", "convert", "quantize", "restore"]

_exported.register()
_quantization.register()
