"""`KeptPrecision`: the precision of a module that keeps what a backend has packed for it."""

from __future__ import annotations

from typing import Any


class KeptPrecision(str):
    """A precision that a module passes at each call, and in which a backend leaves packed weights.

    To all else, as the schema of an operator, it is the plain string.
    """

    packed: Any = None
