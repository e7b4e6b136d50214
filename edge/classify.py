"""Judge a whole wafer set on all cores: `python -m edge.classify SET --bundle B --out records.jsonl`.

SET is a Parquet wafer set or anything else wafer_tf.readers reads. One JSON record per wafer, in the order of the set,
the same as the station writes; its id is LOT/WAFER, or SET:ROW from 0 where the lot or the wafer is not known. The file
appears under its name when it is whole. Needs pyarrow for Parquet, so it runs beside a station rather than on it.
"""

import argparse
import os
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.station.flags import add_arguments, load
from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats import flags as reading
from wafer_tf.whole_files import whole_file

if TYPE_CHECKING:
    from edge.station.classifier import Classifier
    from wafer_tf.waferset import Wafer, WaferSet

EXAMPLE = """example:
  python -m edge.classify wm811k.parquet --bundle bundle --out records.jsonl
  python -m edge.classify wm811k.parquet --bundle bundle --out records.jsonl --require-signature public.pem

exit codes: 0 done, 2 usage, 3 bundle refused, 4 bad input"""
CHUNK = 256
"""Wafers a process judges at a time: a quarter of a second's work."""
AHEAD = 4
"""Chunks in hand per process."""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m edge.classify", __doc__, epilog=EXAMPLE)
    p.add_argument("set", type=Path, metavar="SET", help="Parquet, npz, LSWMD.pkl, a tool's file, or a folder of them")
    p.add_argument("--out", type=Path, required=True, metavar="FILE", help="the records, one JSON line per wafer")
    p.add_argument("--overwrite", action="store_true", help="replace FILE")
    p.add_argument("--processes", type=int, metavar="N", default=0, help="default: as many as there are cores")
    add_arguments(p, files=True)
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported: every core has a process of its own
    args = parser().parse_args(argv)
    return run_command(lambda: classify(args))


def classify(args: argparse.Namespace) -> None:
    """Judge every wafer of a set and write the records, whole or not at all."""
    from tqdm import tqdm

    from wafer_tf.readers import open_source

    processes = args.processes or _cores()
    if processes < 1:
        raise UsageError(f"--processes {processes}; expected at least 1.")
    _check_target(args.out, overwrite=args.overwrite)
    bundle_sha256 = load(args).bundle.sha256  # refuses here, once, not in every process
    decisions: Counter[str] = Counter()
    pool = ProcessPoolExecutor(
        processes, mp_context=get_context("spawn"), initializer=_start, initargs=(args, bundle_sha256)
    )
    started = time.perf_counter()
    try:
        with (
            open_source(args.set, options=reading.options(args), progress=True) as source,
            whole_file(args.out) as out,
            tqdm(desc=f"judging {args.set.name}", total=source.rows, unit=" wafers", mininterval=0.5) as bar,
        ):
            source.tell()
            for lines, counted in _in_order(pool, _chunks(source.batches(), str(args.set)), AHEAD * processes):
                out.write(lines.encode("ascii"))
                decisions += counted
                bar.update(counted.total())
    except BrokenProcessPool:
        raise InputError(
            "a process ended before its work was done: out of memory, killed, or the bundle changed; nothing was kept. "
            "Try fewer --processes."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
    seconds = time.perf_counter() - started
    judged = ", ".join(f"{count} {decision}" for decision, count in sorted(decisions.items()))
    rate = f"{decisions.total() / seconds:.0f} wafers/s on {processes} processes, start included"
    print(f"{decisions.total()} wafers: {judged}\n{seconds:.1f} s, {rate}\nwrote {args.out}", file=sys.stderr)


@dataclass(frozen=True)
class _Chunk:
    """Wafers one after another in a set, of which the first is row `first` of `name`."""

    wafers: "WaferSet"
    name: str
    first: int


_classifier: "Classifier | None" = None
"""Of a worker process, loaded once by `_start`."""


def _start(args: argparse.Namespace, bundle_sha256: str) -> None:
    global _classifier
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process ends the others
    _classifier = load(args)
    if _classifier.bundle.sha256 != bundle_sha256:
        raise UsageError(f"bundle {args.bundle}: was replaced while the command started.")


def _judge(chunk: _Chunk) -> tuple[str, Counter[str]]:
    from edge.station.inputs import wafer_name
    from edge.station.records import to_line
    from wafer_tf.dies import grid_sha256

    if _classifier is None:
        raise RuntimeError("this process was not started by _start")
    wafers, records = chunk.wafers, []
    for i in range(len(wafers)):
        started = time.perf_counter()
        grid = wafers.map(i)
        wafer = wafers[i]
        name = wafer_name(wafer.lot, wafer.wafer, f"{chunk.name}:{chunk.first + i}")
        what = _said(wafer, chunk.name, chunk.first + i)
        records.append(_classifier.answer(name, grid, input_sha256=grid_sha256(grid), started=started, said=what))
    return "".join(map(to_line, records)), Counter(record["decision"] for record in records)


def _said(wafer: "Wafer", file: str, row: int) -> dict[str, Any]:
    """Return what a record says of a wafer of a set, which stands in `row`, from 0, of `file`; see `records.said`."""
    from edge.station.records import MAX_WORD, NOTHING_SAID

    found = {"lot": wafer.lot, "wafer": wafer.wafer, "product": wafer.product, "step": wafer.step, "time": wafer.time}
    return {
        **NOTHING_SAID,
        **{key: text[:MAX_WORD] or None for key, text in found.items()},
        "file": file,
        "map": row + 1,
    }


def _chunks(batches: "Iterable[WaferSet]", name: str) -> Iterator[_Chunk]:
    import numpy as np

    row = 0
    for batch in batches:
        for first in range(0, len(batch), CHUNK):
            rows = np.arange(first, min(first + CHUNK, len(batch)))
            yield _Chunk(batch.select(rows), name, row + first)
        row += len(batch)


def _in_order(pool: Executor, chunks: Iterable[_Chunk], ahead: int) -> Iterator[tuple[str, Counter[str]]]:
    """Give the results in the order of the chunks, of which no more than `ahead` are in memory."""
    waiting: deque[Future[tuple[str, Counter[str]]]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(_judge, chunk))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_target(path: Path, *, overwrite: bool) -> None:
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no file; expected the name of a file to write (--out).")
    if path.exists() and not overwrite:
        raise UsageError(f"{path}: exists already; pass --overwrite to replace it, or name another file.")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder; make it first.")


if __name__ == "__main__":
    sys.exit(main())
