"""Read a pickle as data: nothing named in it is imported, called or built, whatever it asks for.

`pickle.Unpickler` runs what a file names; an allow-list on `find_class` still runs numpy's and pandas' own code on
arguments the file chose. This reader knows the opcodes a pickled table is made of and turns them into inert objects:
a global becomes a `Name` (refused unless on the list), a call a `Call`, a numpy array an `Array` that says where in the
file its bytes lie. Those bytes stay in the file until they are wanted.

Most of LSWMD.pkl is 2.4 million small arrays, some 25 opcodes each. `fastarrays` takes one in a single match of a
regular expression; what it does not recognise is read here, opcode by opcode.
"""

import mmap
import re
import struct
from collections.abc import Callable
from typing import Any

from wafer_tf.errors import InputError
from wafer_tf.readers.fastarrays import FastArrays
from wafer_tf.readers.mapped import Mapped
from wafer_tf.readers.opcodes import OPCODES, PAIR
from wafer_tf.readers.pickledtypes import Array, Call, Dtype, Name, Raw, UnreadableError, called, check_name, text_of

MAX_STACK = 1 << 20
"""Objects that may wait at once; a genuine pickle hands lists on by the thousand."""
MAX_LONG = 32
"""Bytes of a whole number; a UUID has 17."""
MAX_LIST = 2048
"""Whole numbers of a row of dies that are read at once; the pattern takes memory for each."""
ARRAY = 256
"""Bytes that an array takes which was passed over by pattern, its content apart."""
DTYPE = 512
_LONG = 1 << 16
"""Bytes of text that are counted before they are decoded."""
_STEP = 1 << 12
"""Opcodes after which what they took is counted."""
_SMALL_NUMBERS = re.compile(rb"(?:K.){4,%d}e" % MAX_LIST, re.DOTALL)
_MARK = object()
_SET = check_name("builtins", "set")
_RELEASE = 1 << 26


class SkippedError(Exception):
    """The stream refers back to an object that the fast way has passed over."""


def load(data: Mapped, *, progress: Callable[[int], object] | None = None, fast: bool = True) -> Any:
    """Return the root object of a pickle (protocol 2 to 5) as inert data.

    Args:
        data: the file, whose budget is counted on.
        progress: told the bytes read since it was last told.
        fast: whether to pass over arrays by pattern; the result is the same.

    Raises:
        InputError: a global that is not on the list, an opcode that no table needs, a broken stream, one made
            to fill the memory.
    """
    try:
        return Machine(data, progress, fast).run()
    except SkippedError:
        return Machine(data, None, False).run()


class Machine:
    """A stack, a memo and a place in the file."""

    def __init__(self, data: Mapped, progress: Callable[[int], object] | None, fast: bool) -> None:
        self.data, self.pos, self.size = data, 0, len(data)
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.memoized = self.taken = 0
        self.progress, self.told, self.released = progress, 0, 0
        self.fast = FastArrays(data) if fast else None
        self.table: list[Callable[[], None] | None] = [None] * 256
        self.costs = [0] * 256
        for code, (method, cost) in OPCODES.items():
            self.table[code[0]], self.costs[code[0]] = getattr(self, method), cost

    def run(self) -> Any:
        try:
            while not self._steps():
                self._count()
            self._count()
            (root,) = self.stack
        except InputError:
            raise
        except UnreadableError as error:
            raise InputError(f"unsafe or damaged pickle: {error} at byte {self.pos}; nothing of it was run.") from error
        except (IndexError, struct.error) as error:
            raise InputError(f"truncated or damaged pickle: it breaks off at byte {self.pos}.") from error
        except (ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
            raise InputError(
                f"damaged pickle: nonsense at byte {self.pos} ({error}); nothing of it was run."
            ) from error
        self._tell(force=True)
        return root

    def _steps(self) -> bool:
        """Read some opcodes; tell whether the last one was reached."""
        data, table, costs, taken = self.data, self.table, self.costs, 0
        for _ in range(_STEP):
            code = data[self.pos]
            self.pos += 1
            if code == 0x2E:  # STOP
                self.taken += taken
                return True
            handler = table[code]
            if handler is None:
                raise UnreadableError(f"opcode {bytes([code])!r}, which no wafer table needs")
            handler()
            taken += costs[code]
        self.taken += taken
        return False

    def _count(self) -> None:
        """Count what was taken since the last time, before it can be much."""
        if len(self.stack) > MAX_STACK:
            raise UnreadableError(f"more than {MAX_STACK} objects waiting")
        self.data.budget.hold(self.taken, "what its opcodes make")
        self.taken = 0

    # === Bytes ===

    def _take(self, size: int) -> bytes:
        end = self.pos + size
        if end > self.size:
            raise IndexError
        taken = self.data[self.pos : end]
        self.pos = end
        return taken

    def _number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "little")

    def _raw(self, size: int) -> Raw:
        start = self.pos
        if size > self.size - start:
            raise IndexError
        self.pos = start + size
        return Raw(start, size)

    def _tell(self, *, force: bool = False) -> None:
        """Report progress, and let go of the pages that were read."""
        if self.progress is not None and (force or self.pos - self.told > 1 << 20):
            self.progress(self.pos - self.told)
            self.told = self.pos
        if self.pos - self.released > _RELEASE:
            start = self.released - self.released % mmap.PAGESIZE
            self.data.madvise(mmap.MADV_DONTNEED, start, self.pos - start)
            self.released = self.pos

    # === Plain values ===

    def proto(self) -> None:
        if self._number(1) > 5:
            raise UnreadableError("a pickle protocol above 5")

    def frame(self) -> None:
        self._take(8)

    def none(self) -> None:
        self.stack.append(None)

    def true(self) -> None:
        self.stack.append(True)

    def false(self) -> None:
        self.stack.append(False)

    def int1(self) -> None:
        self.stack.append(self.data[self.pos])
        self.pos += 1

    def int2(self) -> None:
        self.stack.append(self._number(2))

    def int4(self) -> None:
        self.stack.append(int.from_bytes(self._take(4), "little", signed=True))

    def long1(self) -> None:
        size = self._number(1)
        if size > MAX_LONG:
            raise UnreadableError(f"a whole number of {size} bytes")
        self.stack.append(int.from_bytes(self._take(size), "little", signed=True))

    def float8(self) -> None:
        self.stack.append(struct.unpack(">d", self._take(8))[0])

    def bytes1(self) -> None:
        size = self._number(1)
        self.taken += size
        self.stack.append(self._take(size))

    def bytes4(self) -> None:
        self.stack.append(self._raw(self._number(4)))

    def bytes8(self) -> None:
        self.stack.append(self._raw(self._number(8)))

    def text1(self) -> None:
        self._text(self._number(1))

    def text4(self) -> None:
        self._text(self._number(4))

    def _text(self, size: int) -> None:
        if size > _LONG:
            self.taken += 5 * size  # its bytes, and four for each of them
            self._count()
        text = self._take(size).decode()
        self.taken += size if text.isascii() else 4 * len(text)  # a character beyond ASCII widens all others
        self.stack.append(text)

    # === Containers ===

    def mark(self) -> None:
        if self.data[self.pos] == 0x4B and type(self.stack[-1]) is list:  # a row of dies as a list: 20 times as fast
            found = _SMALL_NUMBERS.match(self.data, self.pos)
            if found:
                self.stack[-1].extend(self.data[self.pos + 1 : found.end() - 1 : 2])
                self.taken += 5 * (found.end() - self.pos)  # a place for each two bytes, and some ahead
                self.pos = found.end()
                return
        self.stack.append(_MARK)

    def _marked(self) -> list[Any]:
        stack = self.stack
        place = len(stack) - 1
        while stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise UnreadableError("items without a beginning")
        items = stack[place + 1 :]
        del stack[place:]
        return items

    def empty_list(self) -> None:
        self.stack.append([])

    def append(self) -> None:
        value = self.stack.pop()
        self._top(list).append(value)

    def appends(self) -> None:
        items = self._marked()
        self._top(list).extend(items)
        self._tell()

    def empty_tuple(self) -> None:
        self.stack.append(())

    def tuple0(self) -> None:
        self.stack.append(tuple(self._marked()))

    def _last(self, count: int) -> None:
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError
        del self.stack[-count:]
        self.stack.append(tuple(items))

    def tuple1(self) -> None:
        self._last(1)

    def tuple2(self) -> None:
        self._last(2)

    def tuple3(self) -> None:
        self._last(3)

    def empty_dict(self) -> None:
        self.stack.append({})

    def setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        if type(self.stack[-1]) is not Call:  # a mapping of another type is not wanted
            self._top(dict)[_key(key)] = value

    def setitems(self) -> None:
        items = self._marked()
        if type(self.stack[-1]) is Call:
            return
        self.taken += PAIR * len(items) // 2
        self._top(dict).update((_key(key), value) for key, value in zip(items[::2], items[1::2], strict=True))

    def empty_set(self) -> None:
        self.stack.append(Call(_SET, ()))

    def add_items(self) -> None:
        self._marked()

    def frozen_set(self) -> None:
        self.stack.append(Call(_SET, tuple(self._marked())))

    def _top(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise UnreadableError(f"items for a {type(self.stack[-1]).__name__}")
        return self.stack[-1]

    # === Memo ===

    def _put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]
        self.memoized += 1

    def put1(self) -> None:
        self._put(self._number(1))

    def put4(self) -> None:
        self._put(self._number(4))

    def memoize(self) -> None:
        self._put(self.memoized)

    def get1(self) -> None:
        self._get(self._number(1), 2)

    def get4(self) -> None:
        self._get(self._number(4), 5)

    def _get(self, index: int, width: int) -> None:
        try:
            value = self.memo[index]
        except KeyError:
            if self.fast is not None and self.fast.count:
                raise SkippedError from None
            raise UnreadableError(f"a reference to object {index}, which is not there") from None
        if self.fast is not None and type(value) is Name and value.makes_arrays and self._after_array():
            before = self.fast.count
            end, memoized = self.fast.run(self.pos - width, value, self.memo, self.stack)
            if end:
                self.pos = end
                self.memoized += memoized
                self.taken += ARRAY * (self.fast.count - before)
                return
        self.stack.append(value)

    def _after_array(self) -> bool:
        """Whether the place before the next object, in the list being filled, holds an array.

        A lone array may be a block of the table, which the pickle refers to again.
        """
        last = self.stack[-1]
        if last is _MARK and type(self.stack[-2]) is list and self.stack[-2]:
            last = self.stack[-2][-1]
        return type(last) is Array

    # === What a file names ===

    def globe(self) -> None:
        end = self.data.find(b"\n", self.pos, self.pos + 256)
        end2 = self.data.find(b"\n", end + 1, end + 257)
        if end < 0 or end2 < 0:
            raise IndexError
        names = self._take(end2 + 1 - self.pos).decode("utf-8").split("\n")
        self.stack.append(check_name(names[0], names[1]))

    def stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise UnreadableError("a global without a name")
        self.stack.append(check_name(module, name))

    def reduce(self) -> None:
        args, func = self.stack.pop(), self.stack.pop()
        if type(func) is not Name or type(args) is not tuple:
            raise UnreadableError(f"a call of a {type(func).__name__}")
        made = called(func, args)
        self.stack.append(made)
        if type(made) is Dtype:
            self.taken += DTYPE
        elif type(made) is bytes:
            self.taken += len(made)
            self._count()

    def newobj(self) -> None:
        args, func = self.stack.pop(), self.stack.pop()
        if type(func) is not Name or type(args) is not tuple:
            raise UnreadableError(f"an object of a {type(func).__name__}")
        self.stack.append(Call(func, args))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is Array and type(state) is tuple and len(state) == 5:
            target.fill(state[1], state[2], bool(state[3]), state[4])
        elif type(target) is Dtype and type(state) is tuple and len(state) >= 8:
            if any(part is not None for part in state[2:5]):
                raise UnreadableError("an array of records")
            target.order = text_of(state[1])
        elif type(target) is Call and target.state is None:
            target.state = state
        else:
            raise UnreadableError(f"a state for a {type(target).__name__}")


def _key(value: Any) -> Any:
    return value if type(value) is int else text_of(value)
