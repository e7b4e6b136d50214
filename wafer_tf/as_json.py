"""Frozen dataclasses to plain JSON values and back: NaN is null, an unknown or missing key is an error."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

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
        kind: a dataclass whose fields are int, float, str, bool, dataclasses, `kind | None`, tuple[kind, ...], tuples
            of a fixed length, or Mapping[str, kind]. A key may be missing where its field has a default.
        data: plain JSON values.
        where: what to call the place in an error.

    Raises:
        InputError: an unknown or missing key, or a value of the wrong kind.
    """
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, data, where=where)
    origin, of = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType) and NoneType in of:
        (kind,) = (each for each in of if each is not NoneType)
        return None if data is None else from_json(kind, data, where=where)
    if origin is tuple and isinstance(data, list | tuple) and (of[-1] is Ellipsis or len(of) == len(data)):
        kinds = of[:1] * len(data) if of[-1] is Ellipsis else of
        return tuple(from_json(kinds[i], item, where=f"{where}[{i}]") for i, item in enumerate(data))
    if origin is Mapping and isinstance(data, Mapping):
        return {str(key): from_json(of[1], item, where=f"{where}.{key}") for key, item in data.items()}
    if kind is float and data is None:
        return np.nan
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if kind in (int, float, str, bool) and type(data) is kind:
        return data
    raise InputError(f"{where}: {data!r}; expected {kind.__name__ if isinstance(kind, type) else kind}.")


def _dataclass(kind: type, data: Any, *, where: str) -> Any:
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: expected an object, got {type(data).__name__}.")
    known = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    if unknown := sorted(set(data) - set(names)):
        raise InputError(f"{where}: unknown key {unknown[0]!r}; known: {', '.join(names)}.")
    if missing := [field.name for field in fields(kind) if _required(field) and field.name not in data]:
        raise InputError(f"{where}: key {missing[0]!r} is missing; expected {', '.join(names)}.")
    return kind(**{name: from_json(known[name], data[name], where=f"{where}.{name}") for name in names if name in data})


def _required(field: "Field[Any]") -> bool:
    return field.default is MISSING and field.default_factory is MISSING
