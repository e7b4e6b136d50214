"""Mutate a valid file of every tool's format twenty thousand times; each must be refused in words, or read.

    nice -n 10 python -m benchmarks.mutated_files [--count 20000] [--first 0] [--out benchmarks/mutated_files.json]

Four maps from 7 x 9 to 44 x 41 dies are written in every format. Each file is then changed by one to three seeded
changes and read. A fault is an exception that is no InputError (warnings of Python and numpy too), a file that takes
over ten seconds, or neither a map nor a line of text. Of what was read, the maps that are not the original's are
counted; a change of a die leaves a valid file. `contradicted` are those of them whose file still holds the original's
counts of dies, which the map read does not have, without a warning. `--first` goes on where a run ended, adding to OUT.
"""

import bz2
import gzip
import io
import json
import lzma
import platform
import re
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.formats import machine, peak_mb
from tests.wafer_tf.formats.writers_grids import (
    CODES,
    write_e142_variant,
    write_electroglas,
    write_g85,
    write_sinf,
    write_tsk,
    write_wmap,
)
from tests.wafer_tf.formats.writers_klarf import write_klarf
from tests.wafer_tf.formats.writers_stdf import write_atdf, write_stdf
from tests.wafer_tf.formats.writers_table import write_die_table
from wafer_tf.command import CommandParser
from wafer_tf.dies import check_map
from wafer_tf.errors import InputError
from wafer_tf.formats.read import read_maps
from wafer_tf.formats.wafer_map import WaferMap

SLOW_S = 10.0
COUNTS = {
    "g85": rb'<Bin [^>]*BinCount="\d+"/>',
    "e142": rb'<s:BinDefinition [^>]*BinCount="\d+"/>',
    "atdf": rb"\nWRR:[^\n]*\n",
    "klarf": rb"\n +1 \d+ 0\.1 \d+ \d+;",
    "wmap": rb"\nSUMPAS \d+\r",
    "stdf": rb"(?s)\x02\x14\x01\xff.{4}.{4}.{4}.{4}.{4}",
    "tsk": rb"(?s)(?<=\A.{210}).{6}",
}
"""Where the formats that count their dies do so."""
OUTCOMES = ("refused", "the same map", "another map, warned", "another map", "contradicted", "fault")
Grid = NDArray[np.uint8]
Change = Callable[[bytes, np.random.Generator], bytes]


class Original(NamedTuple):
    """A valid file: its format, its bytes, its map, and where it counts its dies."""

    format: str
    data: bytes
    grid: Grid

    def counts(self, data: bytes) -> list[bytes]:
        """Return what a file of this format counts."""
        return re.findall(COUNTS[self.format], data) if self.format in COUNTS else []


def maps(rng: np.random.Generator) -> Iterator[Grid]:
    """Give round wafers, their failing dies at random and in a cluster."""
    for rows, cols in ((7, 9), (12, 10), (26, 31), (44, 41)):
        y, x = np.mgrid[:rows, :cols]
        dies = ((y - (rows - 1) / 2) / (rows / 2)) ** 2 + ((x - (cols - 1) / 2) / (cols / 2)) ** 2 <= 1.02
        fails = (rng.random((rows, cols)) < 0.1) | ((y - rows / 4) ** 2 + (x - cols / 3) ** 2 < rows)
        yield np.where(dies, 1 + fails, 0).astype(np.uint8)


def originals(grid: Grid) -> list[Original]:
    """Return files of a map in every format."""
    rows = [list(map(str, row)) for row in grid.tolist()]
    texts = ["".join(mark.join(row) + "\n" for row in rows).encode() for mark in (",", "\t", "")]
    array, packed, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.save(array, grid)
    np.savez_compressed(packed, grid)
    sinf, stdf = write_sinf(grid, orientation=90), write_stdf([(grid, "LOT", "W1")], y_up=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in (("a", sinf), ("b", stdf)):
            out.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)  # with a date that is always the same
    table = write_die_table({("L1", "W1"): grid})
    files = {
        "sinf": [sinf, write_sinf(grid, codes=("___", "001", "00A"), good="001")],
        "g85": [write_g85(grid, bin_type=kind, orientation=180) for kind in CODES],
        "e142": [write_e142_variant(grid), write_e142_variant(grid, origin="LowerLeft", axis="UpRight", parts=True)],
        "stdf": [stdf, write_stdf([(grid, "LOT", "W1")], big_endian=True, notch="left")],
        "atdf": [write_atdf([(grid, "LOT", "W1")])],
        "klarf": [write_klarf(grid), write_klarf(grid, version="1.8", orientation="UP")],
        "wmap": [write_wmap(grid)],
        "tsk": [write_tsk(grid)],
        "electroglas": [write_electroglas(grid)],
        "table": [table, table.replace(b",", b";"), table.split(b"\n", 1)[1].replace(b"L1,W1,", b"")],
        "npy": [array.getvalue()],
        "npz": [packed.getvalue()],
        "text": texts,
        "packed": [gzip.compress(sinf, mtime=0), bz2.compress(table), lzma.compress(stdf)],
        "zip": [archive.getvalue()],
    }
    return [Original(name, data, grid) for name, datas in files.items() for data in datas]


def changed(files: list[Original], number: int) -> tuple[Original, bytes]:
    """Return a file and what one to three changes make of it; of each format as many."""
    rng = np.random.default_rng((11, number))
    formats = sorted({file.format for file in files})
    there = [file for file in files if file.format == formats[number % len(formats)]]
    original = there[int(rng.integers(len(there)))]
    data = original.data
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        data = CHANGES[int(rng.integers(len(CHANGES)))](data, rng)
    return original, data


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    for place in rng.integers(len(out), size=int(rng.integers(1, 4))) if out else ():
        out[place] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    at, new = _place(data, rng), rng.bytes(int(rng.integers(1, 9)))
    return data[:at] + new + data[at + len(new) :]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def _block(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    """Return a stretch, every second time of whole lines."""
    first = _place(data, rng)
    last = min(len(data), first + int(rng.integers(1, 200)))
    if rng.random() < 0.5:
        first, last = data.rfind(b"\n", 0, first) + 1, data.find(b"\n", last) + 1 or len(data)
    return first, last


def _remove(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = _block(data, rng)
    return data[:first] + data[last:]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = _block(data, rng)
    return data[:last] + data[first:last] * int(rng.integers(1, 4)) + data[last:]


def _swap(data: bytes, rng: np.random.Generator) -> bytes:
    (a, b), (c, d) = sorted((_block(data, rng), _block(data, rng)))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:] if b <= c else data


def _number(data: bytes, rng: np.random.Generator) -> bytes:
    found = list(re.finditer(rb"-?\d+", data[:100_000]))
    if not found:
        return _overwrite(data, rng)
    one = found[int(rng.integers(min(len(found), 60)) if rng.random() < 0.5 else rng.integers(len(found)))]
    new = NUMBERS[int(rng.integers(len(NUMBERS)))]
    if rng.random() < 0.4:
        new = str(int(one[0][:18]) + int(rng.integers(-2, 3))).encode()
    return data[: one.start()] + new + data[one.end() :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + TOKENS[int(rng.integers(len(TOKENS)))] + data[at:]


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Return a place in the data, every third time near its start, where headers are."""
    return int(rng.integers((min(len(data), 400) if rng.random() < 0.33 else len(data)) + 1))


NUMBERS = (
    b"0",
    b"-1",
    b"1",
    b"2",
    b"3",
    b"65535",
    b"65536",
    b"2147483648",
    b"9" * 30,
    b"1e9",
    b"nan",
    b"",
    b"0x1",
    b"1.5",
)
TOKENS = (
    *(b"\0", b"\xff", b"\n", b"\r\n", b"\t", b" ", b";", b",", b":", b"|", b'"', b"'", b"{", b"}", b"<", b">", b"/>"),
    *(b"&amp;", b"&x;", b"<![CDATA[", b"]]>", b"<!--", b"<Row>", b"</Data>", b"<Map>", b"EndOfFile;\n", b"WaferID"),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"PK\x03\x04",
        b"\x1f\x8b",
        b"__ ",
        b"RowData:",
        b"nan",
        b"1e308",
        b"MRR:",
        b"PRR:",
    ),
)
CHANGES: tuple[Change, ...] = (_flip, _overwrite, _cut, _remove, _repeat, _swap, _number, _number, _insert)


class Reading(NamedTuple):
    """What became of a file: the maps read, the refusals, and how it broke the contract, if it did."""

    wafers: list[WaferMap]
    refusals: list[str]
    fault: str = ""


def read(data: bytes) -> Reading:
    """Read a file that may be anything."""
    wafers: list[WaferMap] = []
    refusals: list[str] = []
    try:
        for wafer in read_maps(io.BytesIO(data), "file").wafers:
            if isinstance(wafer, InputError):
                refusals.append(str(wafer))
            else:
                wafers.append(wafer)
                check_map(wafer.grid, "read")
    except InputError as error:
        refusals.append(str(error))
    except Exception as error:
        return Reading(wafers, refusals, f"{type(error).__name__}: {error}")
    if not wafers and not refusals:
        return Reading(wafers, refusals, "neither a map nor a refusal")
    if any(not text or "\n" in text for text in refusals):
        return Reading(wafers, refusals, f"a refusal that is no line of text: {refusals}")
    return Reading(wafers, refusals)


def outcome(original: Original, found: Reading) -> str:
    """Return what became of it in a word; see README.md."""
    if found.fault:
        return "fault"
    if not found.wafers:
        return "refused"
    if all(np.array_equal(wafer.grid, original.grid) for wafer in found.wafers):
        return "the same map"
    return "another map, warned" if any(wafer.warnings for wafer in found.wafers) else "another map"


def is_contradicted(original: Original, data: bytes, found: Reading) -> bool:
    """Whether a changed file has the original's counts of dies, but the map read of it has others."""
    counts = original.counts(original.data)
    told = slice(1, 2 if original.format == "wmap" else 3)  # WMAP counts the passing dies alone
    dies, *others = (
        np.bincount(grid.ravel(), minlength=3)[told] for grid in (original.grid, *map(_grid, found.wafers))
    )
    return bool(counts) and counts == original.counts(data) and any(not np.array_equal(one, dies) for one in others)


def _grid(wafer: WaferMap) -> Grid:
    return wafer.grid


def main() -> None:
    p = CommandParser("python -m benchmarks.mutated_files", __doc__)
    p.add_argument("--count", type=int, default=20_000)
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    files = [file for grid in maps(np.random.default_rng(3)) for file in originals(grid)]
    for file in files:
        found = read(file.data)
        if found.fault or found.refusals or outcome(file, found) != "the same map":
            raise SystemExit(f"{file.format}: not read as it was written: {found.refusals or found.fault}")
    before = json.loads(args.out.read_text()) if args.first else {}
    outcomes = {name: Counter(counts) for name, counts in before.get("outcomes", {}).items()}
    faults: list[dict[str, Any]] = before.get("faults", [])
    contradicted: dict[str, list[int]] = before.get("contradicted", {})
    slowest, started = before.get("slowest_s", 0.0), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(args.first, args.first + args.count):
            original, data = changed(files, number)
            since = time.perf_counter()
            found = read(data)
            took = time.perf_counter() - since
            slowest = max(slowest, round(took, 2))
            word = outcome(original, found) if took < SLOW_S else "fault"
            if word == "another map" and is_contradicted(original, data, found):
                word = "contradicted"
                contradicted.setdefault(original.format, []).append(number)
            outcomes.setdefault(original.format, Counter())[word] += 1
            if word == "fault":
                faults.append({"number": number, "format": original.format, "what": found.fault or f"{took:.0f} s"})
                print(faults[-1], flush=True)
    result = {
        "date": str(date.today()),
        "machine": machine(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "files": before.get("files", 0) + args.count,
        "faults": faults,
        "outcomes": {name: {word: counts[word] for word in OUTCOMES} for name, counts in sorted(outcomes.items())},
        "contradicted": dict(sorted(contradicted.items())),
        "peak_mb": max(before.get("peak_mb", 0), round(peak_mb())),
        "seconds": before.get("seconds", 0) + round(time.perf_counter() - started),
        "slowest_s": slowest,
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
