"""Wafer maps in, failure patterns out.

Examples:
    >>> import wafer_tf as wt
    >>> wafers = wt.synthesize(2, seed=0).wafers       # or wt.read("LSWMD.pkl")
    >>> calls = wt.load("nano").classify(wafers)       # a pandas DataFrame, a row per wafer
    >>> len(calls)
    18
"""

from typing import Any

from wafer_tf.version import __version__

__all__ = ["CLASSES", "Model", "Wafer", "WaferError", "WaferSet", "__version__", "load", "read", "show", "synthesize"]

_HOMES = {
    "CLASSES": "dies",
    "Model": "model",
    "Wafer": "waferset",
    "WaferError": "errors",
    "WaferSet": "waferset",
    "load": "model",
    "read": "readers",
    "show": "showing",
    "synthesize": "synthesis",
}
"""The module of each name, imported when the name is first used, so that `import wafer_tf` is quick. For type checkers
they stand in __init__.pyi."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'wafer_tf' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"wafer_tf.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
