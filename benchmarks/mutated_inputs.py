"""Mutate real input files twenty thousand times; each must come out as records, whatever is in it.

    python -m benchmarks.mutated_inputs MAPS BUNDLE [--count 20000] [--out benchmarks/mutated_inputs.json]

MAPS is a wafer set. Its first maps are written as npy, npz, an npz of several maps, and text in the forms that stations
meet, then changed by one to four seeded changes each. Every result is judged as a file and as a stream. A warning of
Python or numpy counts as a failure, like an exception or a record that breaks its contract.
"""

import io
import json
import platform
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.station.classifier import Classifier
from edge.station.records import KEYS, Record, from_line, to_line
from edge.station.stream import split
from wafer_tf.bundle import load_bundle
from wafer_tf.command import CommandParser
from wafer_tf.dies import CLASSES
from wafer_tf.readers import read

Change = Callable[[bytes, np.random.Generator], bytes]
TOKENS = (
    *(b"nan", b"NaN", b"inf", b"-1", b"-0", b"7", b"2.5", b"1e0", b"0x1", b"\xd9\xa1", b"1_0", b"", b" ", b"\t", b","),
    *(b";", b",,", b"\n\n", b"\r", b"\r\n", b"\n", b"\0", b"\x1a", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\x85"),
    *(b"\xe2\x80\xa8", b"\x93NUMPY", b"\x93NUMPY\x01\x00v\x00", b"PK\x03\x04", b"PK\x05\x06", b"PAR1", b"\x80\x04"),
    *(b"'<f8'", b"'>i4'", b"'|O'", b"'<U9'", b"'|V5'", b"'<c16'", b"'|b1'", b"'<M8[s]'", b"'descr'", b"True"),
    *(b"(3L, 3L)", b"(-3, 3)", b"(300, 300)", b"(2, 2, 2)", b"(99999, 99999)", b"(9" + b"9" * 40 + b", 3)", b"()"),
    *(b"{'a': 1}", b"\\N{x}", b"'\\d'", b"'''", b"[[" * 50),
)
"""What readers of numbers, archives and arrays have tripped over."""


def originals(grids: list[NDArray[np.uint8]]) -> list[bytes]:
    """Return input files of these maps in every form the station reads."""
    files = []
    for i, grid in enumerate(grids):
        arrays = [_npy(grid), _npy(np.asfortranarray(grid).astype((">i2", "<i8", "<f4", "|i1")[i % 4]))]
        packed = io.BytesIO()
        np.savez_compressed(packed, grid) if i % 2 else np.savez(packed, map=grid)
        rows = [list(map(str, row)) for row in grid.tolist()]
        forms = ((",", "\n"), (";", "\r\n"), ("\t", "\n"), (" ", "\n"), (", ", ",\n"), (".0,", ".0\n"))
        texts = ["".join(mark.join(row) + end for row in rows) for mark, end in forms]
        files += [*arrays, b"".join(arrays), packed.getvalue(), *(text.encode() for text in texts)]
        files += [texts[0].encode("utf-8-sig"), texts[1].encode("utf-16"), f"{texts[2]}\n{texts[3]}".encode()]
    out = io.BytesIO()
    np.savez_compressed(
        out,
        flat=np.concatenate([grid.ravel() for grid in grids]),
        offsets=np.cumsum([0, *(g.size for g in grids)]),
        shapes=np.array([grid.shape for grid in grids]),
        lot=np.array(["lot1"] * len(grids)),
        wafer_index=np.arange(len(grids)),
    )
    return [*files, *[out.getvalue()] * len(grids)]


def mutated(files: list[bytes], count: int, *, seed: int = 0) -> Iterator[bytes]:
    """Give `count` files, each an original after one to four changes, most often one."""
    for i in range(count):
        rng = np.random.default_rng((seed, i))
        data = files[int(rng.integers(len(files)))]
        for _ in range(int(rng.choice([1, 1, 1, 2, 3, 4]))):
            data = CHANGES[int(rng.integers(len(CHANGES)))](data, rng)
        yield data


def _place(data: bytes, rng: np.random.Generator) -> int:
    """Return a place in the data: every second time near the start or the end, where headers and directories are."""
    if rng.random() < 0.5:
        return int(rng.integers(len(data) + 1))
    near = int(rng.integers(200))
    return min(near, len(data)) if rng.random() < 0.5 else max(len(data) - near, 0)


def _flip(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if changed:
            changed[min(_place(data, rng), len(changed) - 1)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _overwrite(data: bytes, rng: np.random.Generator) -> bytes:
    at, new = _place(data, rng), rng.bytes(int(rng.integers(1, 9)))
    return data[:at] + new + data[at + len(new) :]


def _truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: _place(data, rng)]


def _cut(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + int(rng.integers(1, 40)) :]


def _insert(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + TOKENS[int(rng.integers(len(TOKENS)))] + data[at:]


def _replace(data: bytes, rng: np.random.Generator) -> bytes:
    at, token = _place(data, rng), TOKENS[int(rng.integers(len(TOKENS)))]
    return data[:at] + token + data[at + len(token) :]


def _repeat(data: bytes, rng: np.random.Generator) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at : at + int(rng.integers(1, 400))] * int(rng.integers(1, 5)) + data[at:]


def _header(data: bytes, rng: np.random.Generator) -> bytes:
    """Change one word of a npy header and pad it to the length it had, so that it is read."""
    start = data.find(b"{'descr'")
    end = data.find(b"\n", start)
    if start < 0 or end < 0:
        return _insert(data, rng)
    words = data[start:end].rstrip().split(b" ")
    words[int(rng.integers(len(words)))] = TOKENS[int(rng.integers(len(TOKENS)))] + b","
    header = b" ".join(words)[: end - start]
    return data[:start] + header.ljust(end - start) + data[end:]


def _field(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a number in a zip archive's headers."""
    marks = [b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"]
    start = data.rfind(marks[int(rng.integers(3))])
    if start < 0:
        return _overwrite(data, rng)
    at = start + int(rng.integers(4, 46))
    big = int(rng.choice([0, 1, 2**16 - 1, 2**31, 2**32 - 1])).to_bytes(4, "little")
    return data[:at] + big[: int(rng.integers(1, 5))] + data[at + 4 :]


CHANGES: tuple[Change, ...] = (
    *(_flip, _overwrite, _truncate, _cut, _insert, _insert, _replace, _repeat, _header, _header, _field),
)


def broken(record: Record) -> str | None:
    """Return how a record breaks its contract, or None."""
    if tuple(record) != KEYS or tuple(from_line(to_line(record))) != KEYS:
        return "keys"
    if to_line(record).count("\n") != 1:
        return "lines"
    if record["status"] == "rejected":
        whole = record["decision"] == "rejected" and record["label"] is None and bool(record["reason"])
        return None if whole else "rejected"
    sure = record["status"] == "ok" and record["label"] in CLASSES and record["reason"] is None
    return None if sure and abs(sum(record["probabilities"].values()) - 1) < 1e-5 else "ok"


def judged(classifier: Classifier, data: bytes) -> list[Record]:
    """Judge the data as a file, then as a stream."""
    records = classifier.judge(data, "file")
    stream = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]
    for number, piece in enumerate(split(stream)):
        records += classifier.judge(piece, f"stdin:{number}")
    return records


def main() -> None:
    p = CommandParser("python -m benchmarks.mutated_inputs", __doc__)
    p.add_argument("maps", type=Path)
    p.add_argument("bundle", type=Path)
    p.add_argument("--count", type=int, default=20_000)
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    classifier = Classifier(load_bundle(args.bundle))
    wafers = read(args.maps)
    files = originals([wafers.map(i) for i in range(0, len(wafers), len(wafers) // 8)])
    statuses: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    started, slowest = time.perf_counter(), 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i, data in enumerate(mutated(files, args.count)):
            before = time.perf_counter()
            try:
                records = judged(classifier, data)
                statuses.update(record["status"] for record in records)
                faults = [fault for record in records if (fault := broken(record))]
                if not classifier.judge(data, "file"):
                    faults.append("no record")
            except Exception as error:
                faults = [f"{type(error).__name__}: {error}"]
            slowest = max(slowest, time.perf_counter() - before)
            if faults:
                failures.append({"number": i, "faults": faults})
                print(failures[-1], flush=True)
    result = {
        "date": str(date.today()),
        "python": platform.python_version(),
        "files": args.count,
        "failures": failures,
        "records": dict(statuses),
        "seconds": round(time.perf_counter() - started),
        "slowest_s": round(slowest, 2),
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def _npy(grid: NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, grid)
    return out.getvalue()


if __name__ == "__main__":
    main()
