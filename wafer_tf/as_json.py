"""Frozen dataclasses to plain JSON values and back: NaN is null, an unknown or missing key is an error."""

from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from wafer_tf.errors import InputError


def to_json(value: Any) -> Any:
    """Return dicts, lists, numbers, strings and None from a dataclass, or from any nest of such values."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist())
    return None if isinstance(value, float) and not np.isfinite(value) else value


def from_json(kind: Any, data: Any, *, where: str) -> Any:
    """Build a `kind` from what `to_json` gave.

    Args:
        kind: a dataclass whose fields are int, float, str, dataclasses, or tuple[one of these, ...].
        data: plain JSON values.
        where: what to call the place in an error.

    Raises:
        InputError: an unknown or missing key, or a value of the wrong kind.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(data, Mapping):
            raise InputError(f"{where}: expected an object, got {type(data).__name__}.")
        known = get_type_hints(kind)
        names = [field.name for field in fields(kind)]
        if unknown := sorted(set(data) - set(names)):
            raise InputError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(names)}.")
        if missing := sorted(set(names) - set(data)):
            raise InputError(f"{where}: key {missing[0]!r} is missing; expected {', '.join(names)}.")
        return kind(**{name: from_json(known[name], data[name], where=f"{where}.{name}") for name in names})
    if get_origin(kind) is tuple and isinstance(data, list | tuple):
        return tuple(from_json(get_args(kind)[0], item, where=f"{where}[{i}]") for i, item in enumerate(data))
    if kind is float and data is None:
        return np.nan
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if kind in (int, float, str) and type(data) is kind:
        return data
    raise InputError(f"{where}: {data!r}; expected {getattr(kind, '__name__', kind)}.")
