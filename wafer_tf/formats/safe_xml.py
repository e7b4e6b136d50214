"""XML as a stream of elements, without anything in XML that can be made to exhaust memory or time.

No DOCTYPE, no entity but the five of XML, nothing external, few levels, a bounded number of elements. Names lose their
namespace prefix and their case: files of one format differ in both. Needs the standard library alone.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple
from xml.parsers import expat

from wafer_tf.errors import InputError
from wafer_tf.formats.opened import MAX_WHOLE, Opened

MAX_DEPTH = 64
MAX_ELEMENTS = 2_000_000
MAX_TAG = 1 << 20
"""Bytes of one tag or comment. expat up to 2.5 reads an unfinished one anew with every chunk it is given."""
_CHUNK = 1 << 16


class Event(NamedTuple):
    """An element begins or ends.

    Attributes:
        begins: whether it begins.
        tag: its name, without prefix, in lower case.
        attributes: by name, likewise; empty at its end.
        text: its own text, where it was asked for; empty at its beginning.
        line: where in the file, from 1.
    """

    begins: bool
    tag: str
    attributes: dict[str, str]
    text: str
    line: int


def events(file: Opened, texts: Collection[str]) -> Iterator[Event]:
    """Yield the elements of an XML file as they begin and end.

    Args:
        file: read in pieces, at most MAX_WHOLE bytes.
        texts: tags, in lower case, of the elements whose text is wanted.

    Raises:
        InputError: not XML, cut off, or with what is refused here; with line and column.
    """
    handlers = _Handlers(file.name, texts)
    parser, found = handlers.parser, handlers.found
    file.stream.seek(0)
    size = 0
    while True:
        chunk = file.stream.read(_CHUNK)
        if not size:
            blank = len(chunk) - len(chunk.lstrip(b" \t\r\n"))  # some tools write a line before the declaration
            handlers.first_line += chunk[:blank].count(b"\n")
            size, fed = blank, chunk[blank:]
        else:
            fed = chunk
        error = None
        try:
            parser.Parse(fed, not chunk)
        except expat.ExpatError as problem:
            error = _damaged(file.name, problem, handlers.first_line)
        except (LookupError, ValueError) as problem:
            if isinstance(problem, InputError):
                error = problem
            else:
                error = InputError(f"{file.name}: XML in an encoding that is not read ({problem}); save it as UTF-8.")
        yield from found  # what was whole before an error is still given
        found.clear()
        if error:
            raise error
        if not chunk:
            return
        size += len(fed)
        if size > MAX_WHOLE:
            raise InputError(f"{file.name}: over {MAX_WHOLE} bytes; expected a file of wafer maps of at most that.")
        if size - max(parser.CurrentByteIndex, 0) > MAX_TAG + _CHUNK:
            raise InputError(
                f"{file.name}: a tag or comment of over {MAX_TAG} bytes, begun before line "
                f"{handlers.first_line + parser.CurrentLineNumber}; expected a map's elements."
            )


class _Handlers:
    def __init__(self, name: str, texts: Collection[str]) -> None:
        self.name, self.texts = name, texts
        self.found: list[Event] = []
        self.first_line = 0
        self.open: list[list[str] | None] = []
        self.elements = 0
        self.parser = parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartElementHandler = self.start
        parser.EndElementHandler = self.end
        parser.CharacterDataHandler = self.characters
        parser.StartDoctypeDeclHandler = self.refuse
        parser.EntityDeclHandler = self.refuse

    @property
    def line(self) -> int:
        return self.first_line + int(self.parser.CurrentLineNumber)

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        if len(self.open) >= MAX_DEPTH:
            raise InputError(f"{self.name}: line {self.line}: XML nested over {MAX_DEPTH} deep; expected a wafer map.")
        if self.elements > MAX_ELEMENTS:
            raise InputError(f"{self.name}: line {self.line}: over {MAX_ELEMENTS} elements; expected a wafer map.")
        tag = _local(tag)
        self.open.append([] if tag in self.texts else None)
        named: dict[str, str] = {}
        for name in sorted(attributes, key=_is_prefixed):  # a plain name wins over one of another namespace
            if not name.startswith("xmlns"):
                named.setdefault(_local(name), attributes[name])
        self.found.append(Event(True, tag, named, "", self.line))

    def end(self, tag: str) -> None:
        text = self.open.pop()
        self.found.append(Event(False, _local(tag), {}, "".join(text) if text else "", self.line))

    def characters(self, text: str) -> None:
        if self.open and (texts := self.open[-1]) is not None:
            texts.append(text)

    def refuse(self, *_: object) -> None:
        raise InputError(
            f"{self.name}: line {self.line}: XML with a DOCTYPE or entities, which can be made to exhaust memory; "
            "expected a map without."
        )


def _local(name: str) -> str:
    return name.rpartition(":")[2].casefold()


def _is_prefixed(name: str) -> bool:
    return ":" in name


def _damaged(name: str, problem: expat.ExpatError, first_line: int) -> InputError:
    cut_off = problem.code in (
        expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION],
        expat.errors.codes[expat.errors.XML_ERROR_PARTIAL_CHAR],
    )
    what = "cut off" if cut_off else "damaged"
    return InputError(
        f"{name}: line {first_line + problem.lineno}, column {problem.offset + 1}: XML is {what} "
        f"({expat.ErrorString(problem.code)}); copy the file again."
    )
