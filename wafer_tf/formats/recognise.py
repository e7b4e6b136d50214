"""Which format a file has, told by its first bytes, never by its ending; and what to say of those that are not read.

Needs the standard library alone.
"""

import re
import string

from wafer_tf.errors import InputError
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import DEFAULT, Options

SET_COMMAND = "python -m edge.classify"
CONVERT_COMMAND = "python -m wafer_tf.readers"
_XML_START = re.compile(rb"\s*(?:<\?xml|<!DOCTYPE|<!--|<[A-Za-z_])")
_NO_ELEMENT = re.compile(rb"(?s)<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)")
_KLARF_START = re.compile(rb"(?im)^[ \t]*(?:FileVersion[ \t]+\d|Record[ \t]+FileRecord\b)")
_SINF_START = re.compile(rb"(?im)^[ \t]*(?:ROWCT|COLCT|BCEQU|FNLOC|RowData)[ \t]*:")
_WMAP_START = re.compile(rb"(?m)^[ \t]*(?:WMAP|ROWCNT|COLCNT|SKIPDI|PASBIN)[ \t]")
_ELECTROGLAS_START = re.compile(rb"(?m)^[ \t]*X[ \t]*-?\d+[ \t]*Y[ \t]*-?\d+[ \t]+\S+[ \t]*\r?$")

_OF_NUMBERS = b"0123456789.,;+- \t\r\n"
_WORD = re.compile(rb"[A-Za-z]{3,}")
_LETTERS, _DIGITS, _SHOWN = string.ascii_letters.encode(), string.digits.encode(), bytes(range(33, 127))
_OF_PROSE = 4096
MIN_WORDS = 8
"""Different words of three letters and more that no grid of answers or bins has, and few lines of prose do without."""
KNOWN = "SINF, SEMI G85 and E142, STDF, ATDF, KLARF, WMAP, TSK, Electroglas, npy, npz"
"""Tools' formats that are read."""

SIGNATURES = {
    b"\x93NUMPY": "npy",
    b"PK\x03\x04": "archive",
    b"PK\x05\x06": "archive",
    b"FAR:": "atdf",
}
"""Formats that are read, by their first bytes: the module of `wafer_tf.formats` that reads them."""

PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}
"""What is unpacked first."""

PICTURE = (
    "{what}, a picture of a map; a station reads the tool's own files. Convert it first: "
    f"{CONVERT_COMMAND} PICTURE OUT.parquet"
)
PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"BM")
FOREIGN = {
    b"PAR1": f"a Parquet file; judge a wafer set with: {SET_COMMAND}",
    b"\x80": f"a pickle, which can run code and is never opened here; convert it with: {CONVERT_COMMAND}",
    b"\x89PNG": PICTURE.format(what="a PNG"),
    b"\xff\xd8\xff": PICTURE.format(what="a JPEG"),
    b"BM": PICTURE.format(what="a BMP"),
    b"GIF8": "a GIF, which is not read; save the picture as PNG",
    b"II*\0": "a TIFF, which is not read; save the picture as PNG",
    b"MM\0*": "a TIFF, which is not read; save the picture as PNG",
    b"%PDF": "a PDF, which is not read; take the tool's own file, of which it is a report",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Excel or Word file (.xls, .doc), which is not read; save the table as "
    "CSV or .xlsx",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive, which is not read; unpack it first",
    b"Rar!": "a RAR archive, which is not read; unpack it first",
    b"(\xb5/\xfd": "a file packed by zstd, which is not read; unpack it first: zstd -d FILE",
    b"\x89HDF\r\n": "an HDF5 file, which is not read; export its maps as npy or CSV",
    b"SQLite format 3": "an SQLite database, which is not read; export the table of dies as CSV",
    b"MATLAB 5.0": "a MATLAB file, which is not read; export the map as CSV: writematrix(map, 'map.csv')",
    b"\0\x06\0\x02": "a GDSII layout, which holds no test results",
    b"{": "JSON, which is not read; expected the tool's own file, or a grid or a table of dies as CSV",
}
"""First bytes of files one may well have at hand, and what to say of them."""


def recognise(file: Opened, options: Options = DEFAULT) -> str:
    """Return the name of the module in `wafer_tf.formats` that reads a file.

    Args:
        file: the open file.
        options: of them the names of columns, by which a table of dies is told where they are no known ones.

    Raises:
        InputError: the file is empty, or of a kind that is not read; it is named for what it is.
    """
    head = file.head
    if not head.strip():
        raise InputError(f"{file.name}: empty; expected a file of wafer maps.")
    for start, module in SIGNATURES.items():
        if head.startswith(start):
            return module
    if head.startswith(tuple(PACKED)):
        return "packed"
    if head[257:262] == b"ustar":
        raise InputError(f"{file.name}: a tar archive, which is not read; unpack it first: tar -xf FILE.")
    if head[2:4] == b"\0\n" and (head[:2] in (b"\2\0", b"\0\2")):
        return "stdf"
    for start, what in FOREIGN.items():
        if head.startswith(start) and not (start == b"BM" and not _is_bmp(head)):
            raise InputError(f"{file.name}: {what}.")
    text = _as_ascii(head)
    reader = _text(file, text, options)
    said = options.states is not None or options.pass_bins is not None or options.columns
    if reader in (None, "die_table") and not said and _is_prose(text, table=reader is not None):
        begins = text.strip().split(b"\n")[0].strip()[:60].decode("latin-1")
        raise InputError(
            f"{file.name}: text ({begins!r}), but neither a grid nor a table of dies nor a tool's format known here: "
            f"{KNOWN}."
        )
    return reader or "grids"


def _text(file: Opened, head: bytes, options: Options) -> str | None:
    from wafer_tf.formats import die_table, tsk

    if not head.translate(None, _OF_NUMBERS):  # a grid or a list of dies, as most files are: no format's words
        return "die_table" if die_table.is_table(file) else None
    if tsk.is_tsk(file.head):
        return "tsk"
    if _XML_START.match(head):
        return _xml(file, head)
    for pattern, module in (
        (_KLARF_START, "klarf"),
        (_SINF_START, "sinf"),
        (_WMAP_START, "wmap"),
        (_ELECTROGLAS_START, "electroglas"),
    ):
        if pattern.search(head):
            return module
    return "die_table" if die_table.is_table(file, options) else None


def _xml(file: Opened, head: bytes) -> str:
    if re.search(rb"(?i)<!(?:ENTITY|DOCTYPE)", head):
        raise InputError(
            f"{file.name}: XML with a DOCTYPE or entities, which can be made to exhaust memory; expected a map without."
        )
    root = re.search(rb"<(?:[\w.-]+:)?([A-Za-z_][\w.-]*)", _NO_ELEMENT.sub(b"", head))
    name = root[1].decode() if root else ""
    if name.casefold() == "mapdata":
        return "e142"
    if name.casefold() in ("map", "maps"):
        return "g85"
    raise InputError(
        f"{file.name}: XML whose first element is {name[:40]!r}; expected MapData (SEMI E142) or Map (SEMI G85)."
    )


def _is_prose(head: bytes, *, table: bool) -> bool:
    """Tell whether a text is mostly words, and many different ones.

    Args:
        head: its first bytes.
        table: whether it names columns such as x and y; so does a page about tables, but it hardly holds a number.
    """
    head = head if table else head[:_OF_PROSE]
    letters, digits, shown = (len(head) - len(head.translate(None, kind)) for kind in (_LETTERS, _DIGITS, _SHOWN))
    if letters <= shown / 2 or (table and digits > shown / 20):
        return False
    return len({word.lower() for word in _WORD.findall(head)}) >= MIN_WORDS


def _as_ascii(head: bytes) -> bytes:
    """Return the head of a text file with a byte-order mark, or in UTF-16, as bytes that a pattern can be found in."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head.decode("utf-16", "replace").encode("ascii", "replace")
    return head.removeprefix(b"\xef\xbb\xbf")


def _is_bmp(head: bytes) -> bool:
    return head[6:10] == bytes(4)  # two reserved fields; a text that begins with BM has letters there
