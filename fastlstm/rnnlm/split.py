"""Which part of a text is held back for validation."""

from fastlstm.rnnlm.chunks import Bytes

PIECE_LEAST = 100  # bytes: shorter pieces would be all seams
LINE_SEARCH = 65_536  # bytes looked through for a line end to split at


def split_ranges(data: Bytes, fraction: float, limit: int, pieces: int) -> list[tuple[int, int]]:
    """Byte ranges of the validation part: the tail of each of `pieces` equal stretches of the text.

    Together they hold `fraction` of the bytes but at most `limit`. One piece is the usual tail
    split; more (char-rnn has one per stream) make validation like the training text throughout. A
    piece starts and a stretch ends at a line, or where lines are very long at a character, so that
    no character is cut in two.
    """
    whole = max(1, min(int(len(data) * fraction), limit))
    pieces = max(1, min(pieces, whole // PIECE_LEAST))
    stretch, held_back = len(data) // pieces, whole // pieces
    ends = [line_start(data, stretch * piece, held_back) for piece in range(1, pieces)]
    ends.append(len(data))
    starts = [line_start(data, end - held_back, held_back // 2) for end in ends]
    return [(start, end) for start, end in zip(starts, ends, strict=True) if start < end]


def line_start(data: Bytes, offset: int, reach: int) -> int:
    """The first line start at or after `offset`, or within reach of none the first character."""
    before = max(0, offset - 1)
    line_end = data[before : max(before, offset + min(LINE_SEARCH, reach))].find(b"\n")
    if line_end >= 0:
        return before + line_end + 1
    while offset < len(data) - 1 and 0x80 <= data[offset : offset + 1][0] < 0xC0:
        offset += 1  # inside a UTF-8 sequence
    return offset
