"""What a model's score is measured against, beyond the quick unigram and bigram.

An n-gram model with a fixed window, and general compressors, all given the training part alone.
"""

import math
from collections.abc import Iterable

from fastlstm.rnnlm.chunks import read_chunks, read_tail
from fastlstm.rnnlm.compression import BEFORE, compressed_bytes
from fastlstm.rnnlm.dataset import Dataset, Text
from fastlstm.rnnlm.evaluation import Score
from fastlstm.rnnlm.kneser_ney import ORDER, kneser_ney_loss
from fastlstm.rnnlm.vocabulary import Tokens

N_GRAM_MOST = 2_000_000  # tokens that an n-gram model learns from: seconds, and bounded memory


def yardstick_scores(dataset: Dataset, text: Text, data: bytes | str) -> dict[str, Score]:
    """Scores of a text, of n-grams of long contexts and of compressors.

    data: its bytes, or which part of the dataset it is.
    """
    name = f"Kneser-Ney {ORDER}-gram"
    if len(dataset.train.tokens) > N_GRAM_MOST:
        name += f", last {N_GRAM_MOST:,}"
    sizes = len(dataset.vocabulary), dataset.vocabulary.start
    loss = kneser_ney_loss(last_tokens(dataset.train), text.tokens.numpy(), *sizes)
    scores = {name: Score(loss, len(text.tokens), text.characters, text.byte_count)}
    chunks = read_chunks(*dataset.parts[data]) if isinstance(data, str) else [data]
    return scores | compression_scores(read_tail(*dataset.parts["train"], BEFORE), chunks, text)


def last_tokens(train: Text) -> Tokens:
    """What of a training part an n-gram model learns from."""
    tokens: Tokens = train.tokens[-N_GRAM_MOST:].numpy()
    return tokens


def compression_scores(before: bytes, chunks: Iterable[bytes], text: Text) -> dict[str, Score]:
    """What compressors pay for the bytes of `text`, in chunks, after the training part `before`."""
    scores = {}
    for name, size in compressed_bytes(before, chunks).items():
        nats = 8 * math.log(2) * size / len(text.tokens)
        scores[name] = Score(nats, len(text.tokens), text.characters, text.byte_count)
    return scores
