"""The opcodes of a pickled table (protocols 2 to 5): the method that reads each, and the memory that it takes."""

SLOT = 16
"""Bytes of a place on the stack, then in a list, then in a column cut out of it."""
LIST = 80 + SLOT
TUPLE = 64 + SLOT
DICT = 80 + SLOT
NUMBER = 32 + SLOT
TEXT = 80 + SLOT
RAW = 144 + SLOT
CALL = 64 + SLOT
NAME = 256 + SLOT
MEMO = 96
PAIR = 128
FIRST_PAIR = 256

OPCODES: dict[bytes, tuple[str, int]] = {
    b"\x80": ("proto", 0),
    b"\x95": ("frame", 0),
    b"N": ("none", SLOT),
    b"\x88": ("true", SLOT),
    b"\x89": ("false", SLOT),
    b"K": ("int1", SLOT),
    b"M": ("int2", NUMBER),
    b"J": ("int4", NUMBER),
    b"\x8a": ("long1", NUMBER + 32),
    b"G": ("float8", NUMBER),
    b"U": ("bytes1", TEXT),
    b"C": ("bytes1", TEXT),
    b"T": ("bytes4", RAW),
    b"B": ("bytes4", RAW),
    b"\x8e": ("bytes8", RAW),
    b"\x96": ("bytes8", RAW),
    b"\x8c": ("text1", TEXT),
    b"X": ("text4", TEXT),
    b"(": ("mark", SLOT),
    b"]": ("empty_list", LIST),
    b"a": ("append", SLOT),
    b"e": ("appends", 0),
    b")": ("empty_tuple", SLOT),
    b"t": ("tuple0", TUPLE),
    b"\x85": ("tuple1", TUPLE),
    b"\x86": ("tuple2", TUPLE),
    b"\x87": ("tuple3", TUPLE),
    b"}": ("empty_dict", DICT),
    b"s": ("setitem", FIRST_PAIR),
    b"u": ("setitems", FIRST_PAIR),
    b"\x8f": ("empty_set", CALL),
    b"\x90": ("add_items", 0),
    b"\x91": ("frozen_set", CALL + TUPLE),
    b"q": ("put1", MEMO),
    b"r": ("put4", MEMO),
    b"\x94": ("memoize", MEMO),
    b"h": ("get1", SLOT),
    b"j": ("get4", SLOT),
    b"c": ("globe", NAME),
    b"\x93": ("stack_global", CALL),
    b"R": ("reduce", CALL),
    b"\x81": ("newobj", CALL),
    b"b": ("build", SLOT),
}
"""As named in `pickled.Machine`, with the most bytes that CPython takes for what one makes, its content apart. Left out
on purpose: INST, OBJ, NEWOBJ_EX, EXT*, PERSID, BINPERSID, POP, DUP, out-of-band buffers and everything of protocols 0
and 1; a file that holds one is refused."""
