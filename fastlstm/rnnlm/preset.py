"""What a preset is: the options of a published run, and the figure that it reached."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A published run.

    published, unit: its figure, perplexity or nats per token; None where there is none.
    part: of the text, `valid` or `test`, that it is of.
    tolerance: how much worse, as a fraction, still counts as reached.
    misses: what may keep this trainer from it.
    """

    summary: str
    options: Mapping[str, Any]
    corpus: str
    where: str
    source: str
    published: float | None
    unit: str = "perplexity"
    part: str = "valid"
    tolerance: float = 0.02
    misses: tuple[str, ...] = ()

    def measure(self, nats: float) -> float:
        """A loss in the unit of the published figure."""
        return math.exp(min(nats, 700.0)) if self.unit == "perplexity" else nats

    def reached(self, nats: float) -> bool | None:
        """Whether a loss is as good as published; None where nothing is."""
        if self.published is None:
            return None
        return self.measure(nats) <= self.published * (1 + self.tolerance)
