"""The texts a run can train on: files, Python's standard library, data sets, generated ones."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fastlstm.rnnlm.cache import cache_folder
from fastlstm.rnnlm.chunks import Bytes, FileBytes
from fastlstm.rnnlm.config import GENERATED, Config
from fastlstm.rnnlm.dyck import generate_dyck
from fastlstm.rnnlm.files import folder_parts, open_text
from fastlstm.rnnlm.france import generate_france
from fastlstm.rnnlm.generated import Generated
from fastlstm.rnnlm.markov import generate_markov
from fastlstm.rnnlm.stdlib import read_stdlib

HUB = "hf:"  # what a text of the library `datasets` begins with


@dataclass(frozen=True)
class Corpus:
    """A text: where it comes from, and its bytes.

    data: the text to train on, of which some is held back where there is no validation text.
    generated: set for a generated text, whose true probabilities are known.
    others: the parts that come in texts of their own: valid, test.
    """

    name: str
    origin: str
    data: Bytes
    generated: Generated | None = None
    others: dict[str, Bytes] = field(default_factory=dict)

    @property
    def parts(self) -> dict[str, Bytes]:
        """Each text by its part."""
        return {"train": self.data, **self.others}

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(map(len, self.parts.values()))

    @cached_property
    def sha256(self) -> str:
        """Fingerprint of the bytes: losses are comparable only where it is the same."""
        digests = {part: _sha256(data) for part, data in self.parts.items()}
        if len(digests) == 1:
            return digests["train"]
        return hashlib.sha256("".join(map(str, sorted(digests.items()))).encode()).hexdigest()


def is_file(text: str) -> bool:
    """Whether a run's text names a file or a folder rather than a built-in text."""
    return text not in ("stdlib", *GENERATED) and not text.startswith(HUB)


def read_corpus(config: Config) -> Corpus:
    """The text that `config.text` names; ValueError where it is empty or missing."""
    if config.text in GENERATED:
        generated = _generate(config)
        return Corpus(config.text, generated.origin, generated.text.encode(), generated)
    if config.text == "stdlib":
        origin, data = read_stdlib()
        return Corpus("stdlib", origin, data)
    cache = cache_folder(config.cache) / "texts"
    if config.text.startswith(HUB):
        return _read_hub(config, cache)
    path = Path(config.text)
    if not path.is_dir():
        return Corpus(path.stem or "text", str(path), _open(path, config, cache))
    parts = {part: _open(file, config, cache) for part, file in folder_parts(path).items()}
    return _of_parts(path.name, str(path), parts)


def _generate(config: Config) -> Generated:
    """A generated text: the same on every Python."""
    if config.text == "markov":
        return generate_markov(config.symbols, config.markov_order, config.markov_alphabet)
    if config.text == "dyck":
        return generate_dyck(config.symbols, config.dyck_kinds, config.dyck_depth)
    return generate_france(
        config.france_docs,
        config.france_distance,
        fixed=config.france_spread == "fixed",
        countries=config.france_countries,
        skin=config.france_skin,
    )


def _open(path: Path, config: Config, cache: Path) -> FileBytes:
    return open_text(path, config.field, cache)


def _read_hub(config: Config, cache: Path) -> Corpus:
    """A data set of the library `datasets`."""
    from fastlstm.rnnlm.hub import hub_parts  # only here is the library needed

    name = config.text.removeprefix(HUB)
    parts = hub_parts(name, config.field, cache)
    return _of_parts(Path(name.partition(":")[0]).name, config.text, parts)


def _of_parts(name: str, origin: str, parts: dict[str, Any]) -> Corpus:
    train = parts.pop("train")
    return Corpus(name, f"{origin} ({', '.join(['train', *parts])})", train, None, parts)


def _sha256(data: Bytes) -> str:
    return data.sha256 if isinstance(data, FileBytes) else hashlib.sha256(data[:]).hexdigest()
