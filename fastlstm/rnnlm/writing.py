"""Text on standard output as its tokens come."""

import sys
from collections.abc import Iterable, Sequence
from itertools import chain, islice

from fastlstm.rnnlm.stopping import until_stop
from fastlstm.rnnlm.vocabulary import Vocabulary


def write_text(
    vocabulary: Vocabulary, prime: list[int], tokens: Iterable[int], stops: Sequence[str] = ()
) -> None:
    """Show a prompt, and the tokens after it as they come, up to a stop string after the prompt."""
    pieces = iter(vocabulary.decode(chain(prime, tokens)))  # one for each token, and one at the end
    for piece in chain(islice(pieces, len(prime)), until_stop(pieces, stops)):
        if piece:
            sys.stdout.write(piece)
            sys.stdout.flush()
    sys.stdout.write("\n")
