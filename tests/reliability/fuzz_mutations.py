"""Seeded mutations of bytes, JSON values and tensors."""

import copy
import random
from typing import Any

import torch

STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**30, 10**400, 0.5, -0.0, 1e308,
    float("nan"), float("inf"), "", "a", "\0", "\ud800", "é", "\U0010ffff", "../../x", "/etc/x",
    "<unk>", "NaN", "x" * 5000, [], [[]], {}, {"level": "word"}, ["a"], [0], [None],
]  # fmt: skip
BLOCKS = [
    b"", b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\n", b'"', b"{", b"]",
    b"[" * 5000,
    b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xed\xa0\x80", b"1e999", b"9" * 5000, b"\x80" * 9,
    bytes(range(256)),
]  # fmt: skip


def mutate_bytes(chance: random.Random, data: bytes) -> bytes:
    """A few bits flipped, blocks cut out, repeated, moved or put in."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        at = chance.randrange(len(changed) + 1)
        end = min(len(changed), at + chance.choice((1, 2, 8, 64, 1000)))
        how = chance.randrange(6)
        if how == 0 and at < len(changed):
            changed[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del changed[at:end]
        elif how == 2:
            changed[at:at] = changed[at:end]
        elif how == 3:
            changed[at:end] = chance.choice(BLOCKS)
        elif how == 4:
            changed[at:at] = chance.randbytes(chance.randrange(1, 30))
        else:
            del changed[at:]
    return bytes(changed)


def mutate_value(chance: random.Random, value: Any) -> Any:
    """JSON of nearly the same form: somewhere in it something else stands, or is missing."""
    if not isinstance(value, dict | list) or not value or chance.random() < 0.1:
        return copy.deepcopy(chance.choice(STRANGE))
    changed = copy.copy(value)
    key = chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
    how = chance.randrange(5)
    if how == 0:
        del changed[key]
    elif how == 1 and isinstance(value, dict):
        changed[str(chance.choice(STRANGE))] = value[key]
    elif how == 1:
        changed.insert(key, copy.deepcopy(chance.choice(value)))
    else:
        changed[key] = mutate_value(chance, value[key])
    return changed


def mutate_tensors(chance: random.Random, tensors: dict[str, torch.Tensor]) -> None:
    """A tensor goes, comes, or has another shape, type or value."""
    name = chance.choice(list(tensors))
    how, tensor = chance.randrange(6), tensors[name]
    if how == 0:
        del tensors[name]
    elif how == 1:
        names = ("model.x", "optimizer.0.x", "optimizer.x.y", "state.9", "rng.x")
        tensors[chance.choice(names)] = tensor
    elif how == 2:
        kinds = (torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool)
        tensors[name] = tensor.to(chance.choice(kinds))
    elif how == 3:
        tensors[name] = tensor.reshape(-1)[: chance.randrange(5)]
    elif how == 4:
        tensors[name] = torch.randint(0, 255, tensor.shape).to(tensor.dtype)
    else:
        tensors[name] = tensor.reshape(tensor.shape[::-1]).contiguous()
