"""Processes that judge chunks of a set, each writing the part that its chunk becomes."""

import argparse
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING

from edge.sets.parts import write_part
from edge.station.flags import load
from wafer_tf.errors import UsageError

if TYPE_CHECKING:
    from edge.station.classifier import Classifier
    from wafer_tf.inference.many import KnownMaps
    from wafer_tf.waferset import WaferSet

CHUNK = 2048
"""Wafers a process judges at a time, and a part holds: enough of one shape among them to encode them together."""
HEAP = {"MALLOC_MMAP_THRESHOLD_": 1 << 25, "MALLOC_TRIM_THRESHOLD_": 1 << 27}
"""Bytes from which glibc takes an array's memory from the system alone, and up to which it keeps what is free. By
default it gives memory back after every few maps and takes it anew, which was a sixth of the processor time."""


@dataclass(frozen=True)
class Chunk:
    """Wafers one after another in a set, of which the first is row `first` of `file`, from 0.

    Attributes:
        folder: where its part goes.
        number: of the part.
        lines: whether the part holds JSON lines, not columns.
    """

    wafers: "WaferSet"
    file: str
    first: int
    folder: Path
    number: int
    lines: bool


def chunks_of(batches: "Iterable[WaferSet]", *, file: str, folder: Path, lines: bool) -> Iterator[Chunk]:
    """Cut a set into chunks, numbered from 0; see `Chunk`."""
    row = number = 0
    for batch in batches:
        for first in range(0, len(batch), CHUNK):
            yield Chunk(batch[first : first + CHUNK], file, row + first, folder, number, lines)
            number += 1
        row += len(batch)


def judge_all(pool: Executor, chunks: Iterable[Chunk], *, ahead: int) -> Iterator[int]:
    """Give, in the order of the chunks, how many wafers were judged; at most `ahead` chunks are in memory."""
    waiting: deque[Future[int]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(judge, chunk))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@contextmanager
def pool_of(args: argparse.Namespace, processes: int, bundle_sha256: str) -> Iterator[Executor]:
    """Give a pool of processes for `judge_all`; they end when this one does, however it ends.

    Args:
        args: of the command; each process loads the bundle that they name.
        processes: how many.
        bundle_sha256: of the bundle, which must still be that one.
    """
    for name, limit in HEAP.items():
        os.environ.setdefault(name, str(limit))
    context = get_context("spawn")
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_start, initargs=(args, bundle_sha256))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


# === In such a process ===

_loaded: "tuple[Classifier, KnownMaps | None, argparse.Namespace] | None" = None
"""By `_start`, once."""


def _start(args: argparse.Namespace, bundle_sha256: str) -> None:
    global _loaded
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from wafer_tf.inference.many import KnownMaps

    classifier = load(args)
    if classifier.bundle.sha256 != bundle_sha256:
        raise UsageError(f"bundle {args.bundle}: was replaced while the command started.")
    _loaded = classifier, None if args.no_cache else KnownMaps(classifier), args


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def judge(chunk: Chunk) -> int:
    """Judge a chunk, write its part, and return how many wafers it has."""
    from edge.sets.columns import arrow_bytes, columns_of, json_lines
    from wafer_tf.inference.calls import calls_of
    from wafer_tf.inference.many import map_hashes, run_many

    if _loaded is None:
        raise RuntimeError("this process was not started by _start")
    (classifier, known, args), started = _loaded, time.perf_counter()
    wafers, told = chunk.wafers, chunk.lines or args.hashes
    hashes = map_hashes(wafers) if told or known else []
    stored = known.run(wafers, hashes) if known else run_many(classifier, wafers)
    calls = calls_of(classifier.bundle, stored, point=classifier.point, unknown_above=classifier.unknown_above)
    sets = classifier.bundle.sets if chunk.lines else None
    columns = columns_of(wafers, calls, hashes if told else None, file=chunk.file, first=chunk.first)
    if chunk.lines:
        ms = (time.perf_counter() - started) * 1e3 / len(wafers)
        content = json_lines(columns, sets, bundle_sha256=classifier.bundle.sha256, ms=ms)
    else:
        content = arrow_bytes(columns)
    write_part(chunk.folder, chunk.number, content)
    return len(wafers)
