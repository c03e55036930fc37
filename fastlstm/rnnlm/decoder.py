"""From the last layer's output to the next token: a linear layer, or an adaptive softmax.

N rows, H features, V vocabulary size.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fastlstm.rnnlm.chunked_loss import chunked_cross_entropy, pays

# where an adaptive softmax cuts the vocabulary: a head of the most frequent, then rarer tails
HEAD, MIDDLE = 1 / 16, 1 / 4


class LinearDecoder(nn.Linear):
    """Logits of all tokens, and their mean cross entropy without holding them all where it pays."""

    def loss(self, rows: Tensor, targets: Tensor) -> Tensor:
        """Mean nats per token of targets [N] after rows [N, H]."""
        if pays(rows, self.weight):
            return chunked_cross_entropy(rows, self.weight, self.bias, targets)
        return F.cross_entropy(self(rows).float(), targets)


class AdaptiveDecoder(nn.AdaptiveLogSoftmaxWithLoss):
    """An adaptive softmax (Grave et al., 2017), which expects tokens in order of frequency."""

    def __init__(self, hidden: int, vocabulary_size: int) -> None:
        cuts = sorted({max(1, int(vocabulary_size * part)) for part in (HEAD, MIDDLE)})
        if cuts[-1] >= vocabulary_size:
            raise ValueError(
                f"--softmax adaptive needs more than {vocabulary_size} tokens; try full"
            )
        shrink = 4.0 if hidden >= 64 else 2.0  # of the features, from one tail to the next
        super().__init__(hidden, vocabulary_size, cuts, div_value=shrink, head_bias=True)
        self.out_features = vocabulary_size

    @property
    def weight(self) -> Tensor:
        """The head's weights; they tell dtype and device."""
        return self.head.weight

    def loss(self, rows: Tensor, targets: Tensor) -> Tensor:
        """Mean nats per token of targets [N] after rows [N, H]."""
        with torch.autocast(rows.device.type, enabled=False):  # it writes into float32 by index
            loss: Tensor = super().forward(rows.float(), targets).loss
        return loss

    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        """Log-probabilities [..., V], which serve as logits."""
        flat = self.log_prob(rows.reshape(-1, rows.shape[-1]))
        return flat.view(*rows.shape[:-1], -1)
