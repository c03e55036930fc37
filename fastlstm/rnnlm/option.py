"""A field of a run's config that is a command-line option too: its help, range and default."""

import math
from dataclasses import Field, field
from typing import Any


def option(
    default: int | float | str | bool | None,
    text: str,
    kind: type,
    *,
    choices: tuple[str, ...] = (),
    at_least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A field with the help and the range of its option."""
    rule = {"choices": choices, "at_least": at_least, "above": above, "below": below}
    return field(default=default, metadata={"help": text, "kind": kind, **rule})


def flag(name: str) -> str:
    """The command-line spelling of a field."""
    return "--" + name.replace("_", "-")


def check(option: "Field[Any]", value: object) -> None:
    """Raise ValueError unless `value` is of the field's kind and in its range."""
    if value is None and option.default is None:
        return
    if value is None and option.name == "steps":  # --epochs takes its place
        return
    name, rule = flag(option.name), option.metadata
    if rule["kind"] is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}")
        return
    if rule["kind"] is str:
        if not isinstance(value, str) or (rule["choices"] and value not in rule["choices"]):
            raise ValueError(f"{name} must be one of {', '.join(rule['choices'])}, got {value!r}")
        return
    kinds = (int,) if rule["kind"] is int else (int, float)
    if not isinstance(value, kinds) or isinstance(value, bool) or not _is_finite(value):
        noun = "a whole number" if rule["kind"] is int else "a finite number"
        raise ValueError(f"{name} must be {noun}, got {value!r}")
    if rule["at_least"] is not None and value < rule["at_least"]:
        raise ValueError(f"{name} must be at least {rule['at_least']}, got {value}")
    if rule["above"] is not None and value <= rule["above"]:
        raise ValueError(f"{name} must be above {rule['above']}, got {value}")
    if rule["below"] is not None and value >= rule["below"]:
        raise ValueError(f"{name} must be below {rule['below']}, got {value}")


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float is as large as
        return False
