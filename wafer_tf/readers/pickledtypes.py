"""The inert objects that a pickle is read as, and the list of globals that one may name."""

import math
import re
import sys
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wafer_tf.errors import InputError
from wafer_tf.readers.mapped import Mapped

_NUMPY_ARRAYS = ("numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric")
_ARRAY_MAKERS = ("_reconstruct", "_frombuffer")
_INDEX_HOMES = ("pandas", "pandas.indexes", "pandas.core.indexes", "pandas.core.index")
_ALLOWED = frozenset(
    [(module, name) for module in _NUMPY_ARRAYS for name in (*_ARRAY_MAKERS, "scalar")]
    + [("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")]
    + [(module, name) for module in ("builtins", "__builtin__") for name in ("slice", "bytes", "bytearray")]
    + [("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame")]
    + [("pandas.core.internals", "BlockManager"), ("pandas.core.internals.managers", "BlockManager")]
    + [("pandas._libs.internals", "_unpickle_block"), ("pandas._libs.internals", "BlockManager")]
    + [(f"{home}{part}", "_new_Index") for home in _INDEX_HOMES for part in ("", ".base")]
    + [(f"{home}{part}", "Index") for home in _INDEX_HOMES for part in ("", ".base")]
    + [(f"{home}{part}", "RangeIndex") for home in _INDEX_HOMES for part in ("", ".range")]
    + [(f"{home}{part}", "Int64Index") for home in _INDEX_HOMES for part in ("", ".numeric")]
    + [("pandas", "StringDtype"), ("pandas.core.arrays.string_", "StringDtype")]
    + [("pandas.arrays", "ArrowStringArray"), ("pandas.core.arrays.string_arrow", "ArrowStringArray")]
    + [("pandas.arrays", "StringArray"), ("pandas.core.arrays.string_", "StringArray")]
    + [(f"pandas{home}", "StringArrayNumpySemantics") for home in (".arrays", ".core.arrays.string_")]
    + [("pandas._libs.arrays", "__pyx_unpickle_NDArrayBacked")]
    + [("pyarrow.lib", name) for name in ("_restore_array", "chunked_array", "type_for_alias", "py_buffer")]
)
"""What a genuine LSWMD.pkl names, under the names of pandas 0.19 to 3 and numpy 1 and 2."""

_TYPES = {
    "pandas": (
        "NA NaT Timestamp Timedelta Period Interval Series DataFrame SingleBlockManager MultiIndex CategoricalIndex "
        "DatetimeIndex TimedeltaIndex PeriodIndex IntervalIndex Float64Index UInt64Index Categorical CategoricalDtype "
        "IntegerArray FloatingArray BooleanArray DatetimeArray TimedeltaArray PeriodArray IntervalArray SparseArray "
        "ArrowExtensionArray NumpyExtensionArray PandasArray Int8Dtype Int16Dtype Int32Dtype Int64Dtype UInt8Dtype "
        "UInt16Dtype UInt32Dtype UInt64Dtype Float32Dtype Float64Dtype BooleanDtype DatetimeTZDtype PeriodDtype "
        "IntervalDtype SparseDtype ArrowDtype NumpyEADtype PandasDtype IntIndex BlockIndex BaseOffset Day Hour Minute "
        "Second MonthEnd FrozenList _new_DatetimeIndex _new_PeriodIndex _new_IntervalIndex _nat_unpickle "
        "_unpickle_timestamp _timedelta_unpickle __pyx_unpickle_BlockPlacement new_block"
    ),
    "numpy": "matrix str_ bytes_ bool_ datetime64 timedelta64",
    "pyarrow": "scalar",
    "datetime": "date time datetime timedelta timezone",
    "zoneinfo": "ZoneInfo",
    "pytz": "_UTC _p",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID SafeUUID",
    "collections": "OrderedDict deque Counter",
    "pathlib": "Path PosixPath WindowsPath PurePosixPath PureWindowsPath",
    **dict.fromkeys(
        ("builtins", "__builtin__"), "set frozenset complex list tuple dict int float bool str object range"
    ),
    **dict.fromkeys(("copyreg", "copy_reg"), "_reconstructor"),
}
_HARMLESS = frozenset((home, name) for home, names in _TYPES.items() for name in names.split())
"""Types of plain values, by the package they are from: a table may hold them in columns that are not wanted here."""
NOTHING = ("NA", "NaT", "_nat_unpickle")
"""How pandas marks a cell in which there is nothing."""
_TYPE_NAME = re.compile(r"_?[A-Z][A-Za-z0-9]*")


MAX_SIDES = 64
"""Sides an array may have, as in numpy."""
MAX_NAME = 1 << 12
"""Bytes of text of Python 2 that are a name; they are decoded each time they are met."""
SAVE_AGAIN = "table[['waferMap', 'lotName', 'waferIndex', 'failureType']].to_pickle('LSWMD.pkl')."
"""What to do about a column that is not read."""


class UnreadableError(Exception):
    """The stream is broken or asks for something no table needs; the text says what."""


class Name(NamedTuple):
    """A global that a pickle names; it stays a name."""

    module: str
    name: str
    makes_arrays: bool


def check_name(module: str, name: str) -> Name:
    """Return the name of a global that is known and runs nothing.

    Raises:
        InputError: it is not on the lists: unsafe, or a type of some other program.
    """
    home = module.partition(".")[0]
    if (module, name) in _ALLOWED or (home, name) in _HARMLESS:
        return Name(module, name, (module, name) in _ALLOWED and name in _ARRAY_MAKERS)
    if _TYPE_NAME.fullmatch(name) and home not in sys.stdlib_module_names | {"numpy", "pandas", "__builtin__"}:
        raise InputError(
            f"holds {module}.{name}, which is not read: no type of pandas or numpy. Nothing of it was run. Where the "
            f"file was made, save the table again without it: {SAVE_AGAIN}"
        )
    raise InputError(
        f"unsafe pickle: it names {module}.{name}, which no wafer table needs; nothing of it was run. "
        "Do not open this file with pandas or pickle."
    )


class Raw(NamedTuple):
    """Bytes that lie in the file."""

    offset: int
    size: int


class Call:
    """What a pickle would have called or built: the name, the arguments, and the state given later."""

    __slots__ = ("args", "func", "state")

    def __init__(self, func: Name, args: tuple[Any, ...]) -> None:
        self.func, self.args = func, args
        self.state: Any = None


class Dtype:
    """A numpy dtype as spelled in the file. Dates and complex numbers are opaque: known by their size alone."""

    def __init__(self, spec: str) -> None:
        self.spec, self.order = spec, "="

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The dtype; only plain numbers, text and objects have one."""
        if opaque := re.fullmatch(r"[<>|=]?(?:[mM]8|c8|[cfg]16|c32)(?:\[\w{1,20}\])?", self.spec):
            return np.dtype(f"V{re.findall('8|16|32', opaque[0])[0]}")
        if not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU]\d{1,3}|O8?)", self.spec):
            raise ValueError(f"array of dtype {self.spec[:40]!r}")
        if self.order not in ("<", ">", "|", "="):
            raise ValueError(f"byte order {self.order[:40]!r}")
        return np.dtype(self.order + self.spec.lstrip("<>|="))


class Array:
    """A numpy array whose bytes lie in the file.

    Attributes:
        shape: its sides.
        dtype: of its cells.
        fortran: whether the first side runs fastest.
        data: where in the file its bytes begin; or the bytes themselves; or, for objects, the list of them.
    """

    __slots__ = ("data", "dtype", "fortran", "shape")
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    data: int | bytes | list[Any]

    def fill(self, shape: Any, dtype: Any, fortran: bool, data: Any) -> "Array":
        """Set the contents, after holding the claimed shape against the bytes that are there."""
        if type(shape) is int:
            shape = (shape,)
        if type(shape) is not tuple or type(dtype) is not Dtype or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError("an array without a shape and dtype")
        self.shape, self.dtype, self.fortran = shape, dtype.numpy, fortran
        if len(shape) > MAX_SIDES:
            raise ValueError(f"an array of {len(shape)} sides")
        count = math.prod(shape)
        if type(data) is Raw:
            found, self.data = data.size, data.offset
        elif type(data) is bytes:
            found, self.data = len(data), data
        elif type(data) is list and self.dtype.hasobject:
            found, self.data = len(data) * 8, data
        else:
            raise ValueError(f"an array made of a {type(data).__name__}")
        if found != count * self.dtype.itemsize or (self.dtype.hasobject and type(data) is not list):
            raise ValueError(f"an array of shape {shape} and dtype {self.dtype} claimed for {found} bytes")
        return self


def content_of(array: Array, data: Mapped) -> NDArray[Any]:
    """Return the cells of an array of plain values, flat, in the order of the file; a copy."""
    content = array.data
    if type(content) is int:
        count = int(np.prod(array.shape, dtype=np.int64))
        content = data[content : content + count * array.dtype.itemsize]
    return np.frombuffer(content, array.dtype)  # type: ignore[arg-type]


_CELL = Dtype("u1")


def called(func: Name, args: tuple[Any, ...]) -> Any:
    """Return what a call of an allowed global stands for: bytes, a dtype, an array, or the call itself."""
    if func.name == "_reconstruct":
        return Array().fill((0,), _CELL, False, b"")  # as numpy does, until the state comes
    if func.name == "_frombuffer":
        buffer, dtype, shape, order = args
        return Array().fill(shape, dtype, order == "F", buffer)
    if func.name == "dtype":
        return Dtype(text_of(args[0]))
    if func.name == "encode":
        return text_of(args[0]).encode("latin1")
    if func.name in ("bytes", "bytearray"):
        content = args[0] if args else b""
        if type(content) not in (bytes, Raw) or len(args) > 1:
            raise UnreadableError(f"{func.name} of a {type(content).__name__}")
        return content
    if func.name == "scalar":
        return Array().fill((), args[0], False, args[1])
    return Call(func, args)


def text_of(value: Any) -> str:
    """Return text, also where Python 2 wrote it as bytes."""
    if type(value) is bytes:
        if len(value) > MAX_NAME:
            raise UnreadableError(f"a name of {len(value)} bytes")
        return value.decode("latin1")
    if type(value) is not str:
        raise UnreadableError(f"a {type(value).__name__} where a name belongs")
    return value
