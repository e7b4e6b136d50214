"""Read a hundred thousand files made to break or exhaust the readers of sets; each is read or refused, in bounds.

    python -m benchmarks.fuzz_readers [--count 100000] [--first 0] [--workers 2] [--out benchmarks/fuzz_readers.json]

A quarter each are pickles (streams of opcodes, and real tables with opcodes removed, repeated or replaced), npz,
Parquet (bytes and numbers changed in pages and footer, equal rows by the hundred thousand) and the text of tools'
files; in every kind a part is repeated up to 100,000 times. So that small files reach the limits, all are set to a
SCALE-th of what they are. A fault is an exception that is no InputError, more memory beyond that before than the limit,
more than ten seconds, or the end of the process. Children of PART files each read them, under RLIMIT_AS; the file in
hand of one that dies is a fault, and the next child goes on behind it. `--first` adds to what OUT has.
"""

import gc
import io
import itertools
import json
import pickletools
import platform
import re
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import mutated_files
from benchmarks.formats import machine
from tests.wafer_tf.readers.amplified import a_set, constant
from wafer_tf import budget
from wafer_tf.command import CommandParser
from wafer_tf.errors import InputError
from wafer_tf.readers import open_source, source, write_parquet
from wafer_tf.readers import parquet as parquet_reader
from wafer_tf.readers.opcodes import OPCODES
from wafer_tf.waferset import WaferSet

ROOT = Path(__file__).parents[1]
PART = 4000
SCALE = 8
MIN_MEMORY, MIN_UNPACKED = budget.MIN_MEMORY // SCALE, budget.MIN_UNPACKED // SCALE
MAX_ADDRESSES = 4 << 30
SLOW_S = 10.0
MAX_BYTES = 400_000
"""Of a file; the readers refuse by what becomes of it, not by its size."""
MB = 2**20
OUTCOMES = ("read", "refused", "fault")
Rng = np.random.Generator


class Outcome(NamedTuple):
    """What became of a file: a word, what was wrong, bytes of memory beyond those before, processor seconds."""

    word: str
    what: str
    peak: int
    seconds: float


# === Files ===


def some(rng: Rng, values: Any) -> Any:
    """Return one of the values."""
    return values[int(rng.integers(len(values)))]


def repeated(data: bytes, rng: Rng) -> bytes:
    """Return a part of a file up to 100,000 times in its place."""
    first = int(rng.integers(len(data) + 1))
    part = data[first : first + int(rng.integers(1, 40))]
    times = int(10 ** rng.uniform(0.5, 5))
    return (data[:first] + part * times + data[first + len(part) :])[:MAX_BYTES]


def pickled(rng: Rng) -> bytes:
    """Return a pickle: a real table changed, or a stream of opcodes."""
    kind = rng.random()
    if kind < 0.3:
        unit = b"".join(some(rng, UNITS) for _ in range(int(rng.integers(1, 4))))
        return (b"\x80\x04N\x94]" + unit * int(10 ** rng.uniform(0, 5.5)) + b".")[:MAX_BYTES]
    if kind < 0.7:
        codes = list(some(rng, tables()))
        for _ in range(int(rng.integers(1, 4))):
            place = int(rng.integers(len(codes)))
            kind = int(rng.integers(5))
            if kind == 0:
                del codes[place : place + int(rng.integers(1, 6))]
            elif kind == 1:
                codes.insert(place, some(rng, codes))
            elif kind == 2:
                codes[place : place + 1] = [opcode(rng)]
            elif kind == 3:
                part = codes[place : place + int(rng.integers(1, 12))]
                codes[place:place] = part * min(int(10 ** rng.uniform(0, 5)), MAX_BYTES // (len(b"".join(part)) + 1))
            else:
                codes[place] = mutated_files.CHANGES[0](codes[place], rng)
        return b"".join(codes)[:MAX_BYTES]
    codes = [opcode(rng) for _ in range(int(rng.integers(1, 60)))]
    place = int(rng.integers(len(codes)))
    codes[place] *= int(10 ** rng.uniform(0, 5))
    return (b"\x80" + bytes([int(rng.integers(2, 6))]) + b"".join(codes) + b".")[:MAX_BYTES]


@cache
def tables() -> list[list[bytes]]:
    """Return the pickled tables of the tests, each cut into its opcodes."""
    cut = []
    for path in sorted((ROOT / "tests" / "data").glob("*.pkl")):
        data = path.read_bytes()
        places = [place or 0 for _, _, place in pickletools.genops(data)] + [len(data)]
        cut.append([data[a:b] for a, b in itertools.pairwise(places)])
    return cut


UNITS = (
    *(b"]", b")", b"}", b"(", b"N", b"\x94", b"]a", b"Na", b"h\0a", b")\x85a", b"\x85", b"NN\x86a", b"(e", b"(Ne"),
    *(
        b"K\1a",
        b"M\xff\xfea",
        b"J\0\0\1\1a",
        b"\x8a\x10" + b"\x7f" * 16 + b"a",
        b"G" + b"\x3f\xf3" * 4 + b"a",
        b"\x8fa",
    ),
    *(b"C\2aba", b"\x8c\2aba", b"X\2\0\0\0aba", b"B\2\0\0\0aba", b"X\6\0\0\0xx\xf0\x9f\x98\x80a", b"(K\1K\1K\1K\1e"),
    *(b"}K\1Nsa", b"}(K\1NK\2Nua", b"](K\1K\1K\1K\1ea", b"cnumpy\nndarray\na", b"cnumpy\nndarray\n)\x81a"),
    *(b"cnumpy.core.multiarray\n_reconstruct\n)Ra", b"cnumpy\ndtype\n\x8c\2u1\x85Ra"),
    *(b"c_codecs\nencode\n\x8c\xff" + b"x" * 255 + b"\x85Ra",),
)
"""Opcodes that make something and leave it on the stack or in the list that lies under it."""
NAMES = (
    *(("numpy", "ndarray"), ("numpy", "dtype"), ("numpy.core.multiarray", "_reconstruct"), ("_codecs", "encode")),
    *(("numpy.core.numeric", "_frombuffer"), ("numpy.core.multiarray", "scalar"), ("builtins", "slice")),
    *(("pandas.core.frame", "DataFrame"), ("pandas.core.internals.managers", "BlockManager"), ("os", "system")),
    *(("pandas.core.indexes.base", "_new_Index"), ("pandas._libs.internals", "_unpickle_block")),
)


def opcode(rng: Rng) -> bytes:
    """Return an opcode with an argument."""
    code: bytes = some(rng, list(OPCODES))
    size = int(some(rng, (0, 1, 2, 3, 200, 255)))
    text = some(rng, (b"latin1", b"u1", b"<", b"O8", b"U9", b"x" * size, b"\xc3\xa9" * (size // 2)))
    number = int(some(rng, (0, 1, 2, 3, 255, 65535, 2**31 - 1, int(rng.integers(256)))))
    if code in b"KUC\x8c\x8aqh" and code not in b"UC\x8c\x8a":
        return code + bytes([number & 255])
    if code in (b"U", b"C", b"\x8c"):
        return code + bytes([len(text)]) + text
    if code in (b"T", b"B", b"X"):
        return code + struct.pack("<I", some(rng, (len(text), len(text), number))) + text
    if code in (b"\x8e", b"\x96"):
        return code + struct.pack("<Q", some(rng, (len(text), number, 2**62))) + text
    widths = {b"\x80": 1, b"\x95": 8, b"M": 2, b"J": 4, b"j": 4, b"r": 4, b"G": 8}
    if code in widths:
        return code + number.to_bytes(8, "little")[: widths[code]]
    if code == b"\x8a":
        return code + bytes([size & 63]) + rng.bytes(size & 63)
    if code == b"c":
        return code + "\n".join(some(rng, NAMES)).encode() + b"\n"
    return code


def npz(rng: Rng) -> bytes:
    """Return an npz of a set or a stack: a header, an array or the archive itself changed."""
    n, side = int(rng.integers(1, 6)), int(rng.integers(3, 9))
    arrays: dict[str, Any] = {
        "flat": rng.integers(1, 3, n * side * side).astype(np.uint8),
        "offsets": np.arange(n + 1) * side * side,
        "shapes": np.full((n, 2), side),
        "lot": np.full(n, "x" * int(some(rng, (1, 9, 256)))),
        "wafer_index": np.arange(n),
        "label": np.full(n, "none"),
    }
    if rng.random() < 0.3:
        arrays = {"arr_0": rng.integers(0, 4, (n, side, side)), "arr_1": rng.integers(0, 2, (n, 8))}
    if rng.random() < 0.3:
        name = some(rng, list(arrays))
        arrays[name] = np.repeat(arrays[name], int(10 ** rng.uniform(0, 4)), axis=0)[: 10**5]
    changed, out = some(rng, list(arrays)), io.BytesIO()
    with zipfile.ZipFile(out, "w", some(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, values in arrays.items():
            entry = io.BytesIO()
            np.save(entry, values)
            data = entry.getvalue()
            if name == changed and rng.random() < 0.7:
                data = forged(data, rng)
            archive.writestr(f"{name}.npy", data)
    data = out.getvalue()
    return some(rng, mutated_files.CHANGES)(data, rng) if rng.random() < 0.4 else data


def forged(data: bytes, rng: Rng) -> bytes:
    """Return an npy array with another number, dtype or length in its header, or repeated."""
    end = 10 + int.from_bytes(data[8:10], "little")
    head, body = data[10:end], data[end:]
    kind = int(rng.integers(4))
    if kind == 0:
        found = list(re.finditer(rb"\d+", head))
        one = some(rng, found)
        head = head[: one.start()] + some(rng, (b"0", b"7", b"99999", b"9" * 12, b"-1")) + head[one.end() :]
    elif kind == 1:
        head = re.sub(
            rb"'descr': '[^']*'", b"'descr': '" + some(rng, (b"<f8", b"|O", b"<U99999999", b"|V0")) + b"'", head
        )
    elif kind == 2:
        return data[:8] + int(some(rng, (0, 9, 60_000, 65_535))).to_bytes(2, "little") + data[10:]
    else:
        return repeated(data, rng)
    return data[:8] + len(head).to_bytes(2, "little") + head + body


@cache
def sets() -> list[bytes]:
    """Return Parquet files of wafers and of dies, packed and encoded in every way."""

    rng, files = np.random.default_rng(2), []
    grids = [rng.integers(1, 3, (side, side), np.uint8) for side in (3, 5, 9, 14)] * 10
    wafers = WaferSet.from_maps(grids, label=[8] * 40, lot=["lot"] * 40)
    with tempfile.TemporaryDirectory() as folder:
        write_parquet(wafers, Path(folder) / "set.parquet")
        files.append((Path(folder) / "set.parquet").read_bytes())
        table = pq.read_table(Path(folder) / "set.parquet")
    x, y = np.meshgrid(np.arange(12), np.arange(12))
    dies = pa.table({"x": x.ravel(), "y": y.ravel(), "bin": rng.integers(1, 3, 144), "lot": ["L1"] * 144})
    for content in (table, dies):
        for packing in ("none", "zstd", "snappy", "gzip"):
            for dictionary, page in ((True, "1.0"), (False, "2.0"), (False, "1.0"), (True, "2.0")):
                out = io.BytesIO()
                pq.write_table(content, out, compression=packing, use_dictionary=dictionary, data_page_version=page,
                               write_statistics=dictionary, row_group_size=25)  # fmt: skip
                files.append(out.getvalue())
    return files


def parquet(rng: Rng) -> bytes:
    """Return a Parquet file with bytes changed in its pages, in its footer, or numbers in either."""
    if rng.random() < 0.2:
        rows, lot = int(10 ** rng.uniform(0, 5)), "x" * int(some(rng, (0, 1, 30, 256, 300)))
        side, dies = int(some(rng, (3, 30, 500))), None
        if rng.random() < 0.3:
            dies = constant(b"\1" * int(10 ** rng.uniform(0, 5)), min(rows, 1000), pa.binary())
        rows = min(rows, 1000) if side > 3 or dies else rows
        encoding = {"column_encoding": {"dies": "DELTA_BYTE_ARRAY"}} if rng.random() < 0.2 else {}
        return a_set(
            rows, side=side, lot=lot, dies=dies, use_dictionary=not encoding and rng.random() < 0.7, **encoding
        )
    data = bytearray(some(rng, sets()))
    size = int.from_bytes(data[-8:-4], "little")
    footer = len(data) - 8 - size
    for _ in range(int(rng.integers(1, 4))):
        low, high = some(rng, ((4, footer), (4, min(footer, 64)), (footer, len(data) - 8)))
        place, kind = int(rng.integers(low, max(high, low + 1))), int(rng.integers(4))
        if kind == 0:
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[place] = int(some(rng, (0, 1, 127, 128, 255, int(rng.integers(256)))))
        elif kind == 2:  # a number of Thrift that goes on
            data[place : place + 5] = b"\xff\xff\xff\xff\x0f"
        elif place >= footer:  # the footer grows, and says so
            part = data[place : place + int(rng.integers(1, 30))] * int(10 ** rng.uniform(0, 3.5))
            data[place:place] = part
            data[-8:-4] = (int.from_bytes(data[-8:-4], "little") + len(part)).to_bytes(4, "little")
        else:
            data[place : place + 8] = rng.bytes(8)
    return bytes(data)


@cache
def texts() -> list[mutated_files.Original]:
    """Return files of tools in every format."""
    grids = list(mutated_files.maps(np.random.default_rng(3)))[:2]
    return [file for grid in grids for file in mutated_files.originals(grid)]


def text(rng: Rng) -> bytes:
    """Return a file of a tool, changed and now and then repeated in a part."""
    data: bytes = some(rng, texts()).data
    for _ in range(int(rng.integers(1, 3))):
        data = some(rng, mutated_files.CHANGES)(data, rng)
    return repeated(data, rng) if data and rng.random() < 0.3 else data


KINDS: dict[str, Callable[[Rng], bytes]] = {"pickle": pickled, "npz": npz, "Parquet": parquet, "text": text}


def file_of(number: int) -> tuple[str, bytes]:
    """Return the kind and the bytes of the file of a number."""
    kind = list(KINDS)[number % len(KINDS)]
    return kind, KINDS[kind](np.random.default_rng((29, number)))


# === Reading ===


def status(field: str) -> int:
    """Return bytes of memory as the kernel counts them."""
    found = re.search(field + r":\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


def read(path: Path) -> Outcome:
    """Read a file that may be anything."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, begun, word, what = status("VmRSS"), time.process_time(), "read", ""
    try:
        with open_source(path) as opened:
            for _ in opened.batches():
                pass
    except InputError as error:
        word = "refused"
        if not str(error) or "\n" in str(error) or len(str(error)) > 5000:
            word, what = "fault", f"a refusal that is no line of text: {str(error)[:200]!r}"
    except Exception as error:
        word, what = "fault", f"{type(error).__name__}: {str(error)[:200]}"
    seconds, peak = time.process_time() - begun, max(0, status("VmHWM") - before)
    if peak > max(MIN_MEMORY, budget.MEMORY_RATIO * path.stat().st_size):
        word, what = "fault", f"{peak / MB:.0f} MB"
    if seconds > SLOW_S:
        word, what = "fault", f"{seconds:.0f} s"
    return Outcome(word, what, peak, seconds)


def child(first: int, last: int, out: Path) -> None:
    """Read the files of these numbers, a line for each, written when it begins and when it ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))
    warnings.simplefilter("error")
    budget.MIN_MEMORY, budget.MIN_UNPACKED = MIN_MEMORY, MIN_UNPACKED
    source.BATCH_CELLS = parquet_reader.BATCH_CELLS = source.BATCH_CELLS // SCALE
    with tempfile.TemporaryDirectory() as folder, out.open("a") as lines:
        path = Path(folder) / "file"
        for data in (*sets()[::16], *(file.data for file in texts()), *map(b"".join, tables())):  # what they import
            path.write_bytes(data)
            read(path)
        for number in range(first, last):
            kind, data = file_of(number)
            path.write_bytes(data)
            lines.write(json.dumps([number, kind]) + "\n")
            lines.flush()
            found = read(path)
            lines.write(json.dumps([number, kind, *found]) + "\n")
            lines.flush()
            if number % 50 == 0:
                gc.collect()


def part(first: int, last: int) -> list[tuple[int, str, Outcome]]:
    """Return what became of the files of these numbers, in as many children as it takes."""
    found: list[tuple[int, str, Outcome]] = []
    while first < last:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "lines"
            out.touch()
            command = [sys.executable, "-m", "benchmarks.fuzz_readers", "--child", str(out)]
            done = subprocess.run(
                [*command, "--first", str(first), "--count", str(last - first)], cwd=ROOT, check=False, text=True,
                stderr=subprocess.PIPE,
            )  # fmt: skip
            lines = [json.loads(line) for line in out.read_text().splitlines()]
        found += [(line[0], line[1], Outcome(*line[2:])) for line in lines if len(line) > 2]
        if done.returncode == 0:
            return found
        if not lines:
            raise SystemExit(f"a child could not begin: {done.stderr[-500:]}")
        number, kind = lines[-1][:2]
        found.append((number, kind, Outcome("fault", f"ended the process ({done.returncode})", 0, 0.0)))
        first = number + 1
    return found


def main() -> None:
    p = CommandParser("python -m benchmarks.fuzz_readers", __doc__)
    p.add_argument("--count", type=int, default=100_000)
    p.add_argument("--first", type=int, default=0)
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    p.add_argument("--child", type=Path, help="the file for the lines of a child")
    args = p.parse_args()
    if args.child:
        child(args.first, args.first + args.count, args.child)
        return
    before: dict[str, Any] = json.loads(args.out.read_text()) if args.first else {}
    started, end = time.perf_counter(), args.first + args.count
    with ThreadPoolExecutor(args.workers) as pool:
        for added in pool.map(lambda first: part(first, min(first + PART, end)), range(args.first, end, PART)):
            for number, kind, one in added:
                if one.word == "fault":
                    print(f"{number} ({kind}): {one.what}", flush=True)
            before = merged(before, added, time.perf_counter() - started)
            started = time.perf_counter()
            args.out.write_text(json.dumps(before, indent=2) + "\n")
    print(json.dumps(before, indent=2))


def merged(before: dict[str, Any], added: list[tuple[int, str, Outcome]], seconds: float) -> dict[str, Any]:
    """Return the result with more files."""
    kinds = {}
    for kind in KINDS:
        old = before.get("kinds", {}).get(kind, {"largest_mb": 0.0, "slowest_s": 0.0})
        ones = [one for _, name, one in added if name == kind]
        words = Counter(one.word for one in ones)
        kinds[kind] = {
            **{word: old.get(word, 0) + words[word] for word in OUTCOMES},
            "largest_mb": max(old["largest_mb"], *(round(one.peak / MB, 1) for one in ones), 0.0),
            "slowest_s": max(old["slowest_s"], *(round(one.seconds, 2) for one in ones), 0.0),
        }
    faults = [{"number": n, "kind": kind, "what": one.what} for n, kind, one in added if one.word == "fault"]
    return {
        "date": str(date.today()),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in ("numpy", "pyarrow")}},
        "limits": {"memory_mb": MIN_MEMORY // MB, "times_file": budget.MEMORY_RATIO, "seconds": SLOW_S},
        "files": before.get("files", 0) + len(added),
        "faults": before.get("faults", []) + faults,
        "kinds": kinds,
        "seconds": before.get("seconds", 0) + round(seconds),
    }


if __name__ == "__main__":
    main()
