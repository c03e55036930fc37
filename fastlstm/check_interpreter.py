"""Refuses subinterpreters, before torch is imported: there it hangs, or crashes the process."""

from __future__ import annotations

import ctypes


def _is_main() -> bool:
    """Whether this is the interpreter that the process began with."""
    if not hasattr(ctypes, "pythonapi"):
        return True
    current, main = (
        getattr(ctypes.pythonapi, f"PyInterpreterState_{name}") for name in ("Get", "Main")
    )
    current.restype = main.restype = ctypes.c_void_p
    return bool(current() == main())


if not _is_main():
    raise ImportError(
        "fastlstm runs in the main interpreter alone, as torch does: import it there, got a "
        "subinterpreter"
    )
