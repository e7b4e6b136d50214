"""Pickled tables written opcode by opcode, as no program writes them."""

import struct


def text(content: str) -> bytes:
    return b"X" + struct.pack("<I", len(content.encode())) + content.encode()


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def raw(content: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(content)) + content


def array(shape: tuple[int, ...], spec: str, content: bytes) -> bytes:
    sides = b"".join(b"\x8a\x08" + struct.pack("<q", side) for side in shape)
    kind = name("numpy", "dtype") + text(spec) + b"\x89\x88\x87R(K\x03" + text("<") + b"NNNK\x00K\x00K\x00tb"
    made = name("numpy._core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
    return made + b"(K\x01(" + sides + b"t" + kind + b"\x89" + content + b"tb"


def cells(*each: bytes) -> bytes:
    """Return a column of objects, its cells handed on by the thousand as pickle does."""
    parts = (each[first : first + 1000] for first in range(0, len(each), 1000))
    return array((1, len(each)), "O8", b"]" + b"".join(b"(" + b"".join(part) + b"e" for part in parts))


def table(columns: dict[str, bytes], *, before: bytes = b"") -> bytes:
    """Return a pickled pandas table; `before` is made and dropped first, to be referred to."""
    blocks = b"".join(
        name("pandas._libs.internals", "_unpickle_block")
        + b"("
        + column
        + name("builtins", "slice")
        + struct.pack("<2sHcH", b"(M", k, b"M", k + 1)
        + b"K\x01tRK\x02tR"
        for k, column in enumerate(columns.values())
    )
    home = "pandas.core.indexes.base"
    names = array((len(columns),), "O8", b"](" + b"".join(text(column) for column in columns) + b"e")
    index = name(home, "_new_Index") + name(home, "Index") + b"}" + text("data") + names + b"s\x86R"
    manager = name("pandas._libs.internals", "BlockManager") + b"((" + blocks + b"t](" + index + b"NetR"
    state = text("spare") + b"](" + before + b"es" if before else b""
    return b"\x80\x05" + name("pandas.core.frame", "DataFrame") + b")\x81}" + state + text("_mgr") + manager + b"sb."
