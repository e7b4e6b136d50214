"""Pass over the arrays of a pickle by pattern: one match of a regular expression instead of some 25 opcodes each.

It makes reading LSWMD.pkl some five times as fast; `python -m benchmarks.lswmd` measures it.
"""

import re
from typing import Any

from wafer_tf.readers.mapped import Mapped
from wafer_tf.readers.pickledtypes import Array, Dtype, Name

_PUT = rb"(?:q.|r.{4})?"
_GET = rb"(?:h.|j.{4})"
_SHAPE = rb"((?:K.|M..){1,2}[\x85\x86])"
_FULL_DTYPE = (
    rb"(?:h.|j.{4})[UX\x8c](\x02[US].|\x03[US]..|\x04[US]...)P(?:K\x00|\x89)(?:K\x01|\x88)\x87PR(P)"
    rb"\(K\x03(?:[UX\x8c]\x01([<|>])P|(h.|j.{4}))NNN(?:K.|M..|J.{4}){3}tPb"
)
"""numpy.dtype('U4', 0, 1) and its state: a text array of Python 2 has a dtype of its own. P: a memo opcode."""
_SMALL = 256
"""Bytes up to which one-cell arrays of equal content are kept once: the labels."""
_MAX_LABELS = 4096
"""Of them; a column of texts has others."""
_MAX_SHAPES = 1 << 16
_MAX_PATTERNS = 16
"""Patterns that are made; a table refers to one or two globals that make arrays."""


class FastArrays:
    """Reads runs of pickled arrays, as numpy pickles them under protocol 2 (`_reconstruct`) and 5 (`_frombuffer`).

    Every array after the first of its dtype begins with a reference to the global that makes it, which is where the
    opcode reader calls in. An array of any other form is left to that reader.

    Attributes:
        count: arrays read so far; what they put in the memo is not in it.
    """

    def __init__(self, data: Mapped) -> None:
        self.data, self.count = data, 0
        self._patterns: dict[bytes, tuple[re.Pattern[bytes], re.Pattern[bytes]]] = {}
        self._shapes: dict[bytes, tuple[int, ...] | None] = {}
        self._labels: dict[tuple[bytes, bytes, bytes], Array] = {}

    def run(self, start: int, name: Name, memo: dict[int, Any], stack: list[Any]) -> tuple[int, int]:
        """Push the arrays that begin at `start` with a reference to `name`, one after another.

        Returns:
            Where the last one ends and how many MEMOIZE opcodes they hold; 0 and 0 when the first is of another form.
        """
        reference = self.data[start : start + (2 if self.data[start] == ord("h") else 5)]
        if len(self._patterns) >= _MAX_PATTERNS and reference not in self._patterns:
            return 0, 0
        if name.name == "_reconstruct":
            return self._reconstructed(start, reference, memo, stack), 0
        return self._from_buffers(start, reference, memo, stack)

    def _reconstructed(self, start: int, reference: bytes, memo: dict[int, Any], stack: list[Any]) -> int:
        """Protocol 2: `_reconstruct(ndarray, (0,), 'b')`, then the state (1, shape, dtype, fortran, bytes)."""
        head, tail = self._patterns.get(reference) or self._classic(reference)
        data, length = self.data, len(self.data)
        dtypes: dict[bytes, Dtype | None] = {}
        end, found = 0, head.match(data, start)
        while found is not None:
            _, shape_code, dtype_code, spec, put, byte_order, order_code, order, size1, size4 = found.groups()
            at = found.end()
            if dtype_code is None:
                dtype_code = spec + (byte_order or order_code)
            size = size1[0] if size4 is None else int.from_bytes(size4, "little")
            if dtype_code not in dtypes:
                dtypes[dtype_code] = _dtype(dtype_code, memo) if spec is None else _spelled(spec, dtype_code, memo)
            if shape_code not in self._shapes:
                self._add_shape(shape_code)
            dtype, shape = dtypes[dtype_code], self._shapes[shape_code]
            if dtype is None or shape is None or size > length - at:
                break
            cells = shape[0] * shape[-1] if len(shape) == 2 else shape[0]
            if size != cells * dtype.numpy.itemsize:
                break
            found = tail.match(data, at + size)
            if found is None:
                break
            if put:
                memo[_index(put)] = dtype
            if cells <= 1 and size <= _SMALL:
                array = self._label(shape_code, dtype_code, shape, dtype, at, size)
            else:
                array = _array(shape, dtype, order == b"\x88", at)
            stack.append(array)
            self.count += 1
            end = found.start(1)
            if end < 0:
                return found.end()
        return end

    def _from_buffers(self, start: int, reference: bytes, memo: dict[int, Any], stack: list[Any]) -> tuple[int, int]:
        """Protocol 5: `_frombuffer(bytes, dtype, shape, order)`; four MEMOIZE opcodes each."""
        head, tail = self._patterns.get(reference) or self._buffered(reference)
        data, length = self.data, len(self.data)
        dtypes: dict[bytes, Dtype | None] = {}
        end, first = 0, self.count
        begun = head.match(data, start)
        while begun is not None:
            at, size = begun.end(), int.from_bytes(begun[begun.lastindex or 0], "little")
            found = tail.match(data, at + size) if size <= length - at else None
            if found is None:
                break
            dtype_code, shape_code, order_code = found.group(1, 2, 3)
            if dtype_code not in dtypes:
                dtypes[dtype_code] = _dtype(dtype_code, memo)
            if shape_code not in self._shapes:
                self._add_shape(shape_code)
            dtype, shape, order = dtypes[dtype_code], self._shapes[shape_code], memo.get(_index(order_code))
            if dtype is None or shape is None or order not in ("C", "F"):
                break
            cells = shape[0] * shape[-1] if len(shape) == 2 else shape[0]
            if size != cells * dtype.numpy.itemsize:
                break
            if cells <= 1 and size <= _SMALL:
                array = self._label(shape_code, dtype_code, shape, dtype, at, size)
            else:
                array = _array(shape, dtype, order == "F", at)
            stack.append(array)
            self.count += 1
            end = found.end()
            begun = head.match(data, end)
        return end, 4 * (self.count - first)

    def _add_shape(self, code: bytes) -> None:
        if len(self._shapes) >= _MAX_SHAPES:
            self._shapes.clear()
        self._shapes[code] = _shape(code)

    def _label(
        self, shape_code: bytes, dtype_code: bytes, shape: tuple[int, ...], dtype: Dtype, at: int, size: int
    ) -> Array:
        key = (shape_code, dtype_code, self.data[at : at + size])
        found = self._labels.get(key)
        if found is None:
            found = _array(shape, dtype, False, at)
            if len(self._labels) < _MAX_LABELS:
                self._labels[key] = found
        return found

    def _classic(self, reference: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
        head = (
            b"("
            + re.escape(reference)
            + _GET
            + rb"(?:K\x00\x85"
            + _PUT
            + b"|"
            + _GET
            + rb")(?:[UC]\x01b"
            + _PUT
            + b"|"
            + _GET
            + rb")\x87"
            + _PUT
            + b"R"
            + _PUT
            + rb"\(K\x01"
            + _SHAPE
            + _PUT
            + b"(?:("
            + _GET
            + b")|"
            + _FULL_DTYPE.replace(b"P", _PUT)
            + rb")([\x88\x89])(?:[UC](.)|[TB](.{4})))"
        )
        tail = _PUT + b"t" + _PUT + b"b(?:" + head + b")?"
        self._patterns[reference] = re.compile(head, re.DOTALL), re.compile(tail, re.DOTALL)
        return self._patterns[reference]

    def _buffered(self, reference: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
        head = re.escape(reference) + rb"\((?:\x96(.{8})|B(.{4})|C(.))"
        tail = rb"\x94(" + _GET + b")" + _SHAPE + rb"\x94(" + _GET + rb")t\x94R\x94"
        self._patterns[reference] = re.compile(head, re.DOTALL), re.compile(tail, re.DOTALL)
        return self._patterns[reference]


def _array(shape: tuple[int, ...], dtype: Dtype, fortran: bool, at: int) -> Array:
    array = Array()
    array.shape, array.dtype, array.fortran, array.data = shape, dtype.numpy, fortran, at
    return array


def _index(reference: bytes) -> int:
    return int.from_bytes(reference[1:], "little")


def _dtype(reference: bytes, memo: dict[int, Any]) -> Dtype | None:
    """Return the dtype a reference stands for; None where the opcode reader must look."""
    dtype = memo.get(_index(reference))
    return dtype if type(dtype) is Dtype and not dtype.numpy.hasobject else None


def _spelled(spec: bytes, code: bytes, memo: dict[int, Any]) -> Dtype | None:
    """Return the dtype that is spelled out: length and spec, then the byte order or a reference to it."""
    order: Any = code[len(spec) :]
    if len(order) > 1:
        order = memo.get(_index(order))
    dtype = Dtype(spec[1:].decode("latin1"))
    dtype.order = order.decode("latin1") if type(order) is bytes else str(order)
    try:
        return None if dtype.numpy.hasobject else dtype
    except ValueError:
        return None


def _shape(code: bytes) -> tuple[int, ...] | None:
    """Return the shape that INT, or INT INT, and a tuple opcode spell; None where the counts differ."""
    sides, place = [], 0
    while place < len(code) - 1:
        width = 1 if code[place] == ord("K") else 2
        sides.append(int.from_bytes(code[place + 1 : place + 1 + width], "little"))
        place += 1 + width
    return tuple(sides) if len(sides) == {0x85: 1, 0x86: 2}[code[-1]] else None
