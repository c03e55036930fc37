"""An LSTM layer on custom kernels that stands where `torch.nn.LSTM` stood."""

from fastlstm.lstm import LSTM

__version__ = "0.1.0"

__all__ = ["LSTM", "__version__"]
