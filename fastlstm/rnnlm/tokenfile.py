"""A prepared text: the tokens of all its parts in one file, memory-mapped when it is read.

The file begins with a JSON header of HEADER bytes, filled up with blanks, that says of each part
where its tokens are, how many, how many characters and bytes they stand for, and how many are
`<unk>`; of which text and vocabulary all this is; and the sha256 of what follows and of the rest
of the header. The tokens follow, in the narrowest type that holds them.
"""

import hashlib
import json
import mmap
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from fastlstm.rnnlm.vocabulary import Vocabulary

FORMAT = "fastlstm tokens 3"
HEADER = 4096  # bytes
BLOCK = 2**20  # tokens


def _nothing() -> None: ...


@dataclass(frozen=True)
class Text:
    """An encoded text.

    tokens: [N], uint8, int16 or int32.
    characters: of the raw text, bytes at the byte level; the unit of bits per character.
    unknown: how many of the tokens are `<unk>`.
    byte_count: of the raw text; 0 where it is not known.
    release: gives memory back that held what was read of the file; it is read again when needed.
    """

    tokens: torch.Tensor
    characters: int
    unknown: int
    byte_count: int = 0
    release: Callable[[], None] = _nothing

    def blocks(self) -> Iterator[npt.NDArray[Any]]:
        """The tokens in blocks, in flat memory."""
        tokens = self.tokens.numpy()
        for begin in range(0, len(tokens), BLOCK):
            yield tokens[begin : begin + BLOCK]
            self.release()


def token_dtype(size: int) -> npt.DTypeLike:
    """The narrowest type for a vocabulary of `size` tokens that torch has all operators for."""
    return np.uint8 if size <= 2**8 else np.int16 if size <= 2**15 else np.int32


def write_tokens(
    file: BinaryIO,
    parts: Mapping[str, Callable[[], Iterator[bytes]]],
    vocabulary: Vocabulary,
    source: dict[str, str],
) -> None:
    """Encode each part, given in chunks, into a file."""
    dtype = np.dtype(token_dtype(len(vocabulary)))
    header: dict[str, Any] = {"format": FORMAT, "dtype": dtype.name, "source": source}
    header["parts"] = {}
    file.write(b" " * HEADER)
    digest = hashlib.sha256()
    for part, chunks in parts.items():
        entry = dict.fromkeys(("tokens", "characters", "unknown", "bytes"), 0)
        entry["offset"] = file.tell()
        for chunk in chunks():
            tokens = vocabulary.encode(chunk)
            entry["tokens"] += len(tokens)
            entry["characters"] += vocabulary.count_characters(chunk)
            entry["unknown"] += vocabulary.count_unknown(tokens)
            entry["bytes"] += len(chunk)
            data = tokens.astype(dtype, copy=False).data
            digest.update(data)
            file.write(data)
        header["parts"][part] = entry
    header["bytes"] = file.tell()
    digest.update(_plain(header))
    header["sha256"] = digest.hexdigest()
    file.seek(0)
    file.write(json.dumps(header).encode().ljust(HEADER - 1) + b"\n")


def read_header(path: Path) -> dict[str, Any] | None:
    """The header of a token file; None where the file is missing, of another kind, or damaged."""
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(HEADER))
            if header["format"] != FORMAT or header["bytes"] != path.stat().st_size:
                return None
            digest = hashlib.file_digest(file, "sha256")
            digest.update(_plain(header))
            if header["sha256"] == digest.hexdigest():
                return dict(header)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


def _plain(header: Mapping[str, Any]) -> bytes:
    """A header as its own sha256 covers it."""
    rest = {name: value for name, value in header.items() if name != "sha256"}
    return json.dumps(rest, sort_keys=True).encode()


def map_tokens(path: Path, header: dict[str, Any]) -> dict[str, Text]:
    """The parts of a token file, by name."""
    with path.open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def release() -> None:
        mapped.madvise(mmap.MADV_DONTNEED)

    texts = {}
    for part, entry in header["parts"].items():
        array = np.frombuffer(mapped, header["dtype"], entry["tokens"], entry["offset"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nobody writes to it, and who did would be killed
            tokens = torch.from_numpy(array)
        counts = entry["characters"], entry["unknown"], entry["bytes"]
        texts[part] = Text(tokens, *counts, release)
    return texts
