"""Judge a whole wafer set on all cores: `python -m edge.classify SET --bundle B --out calls.parquet`.

SET is a Parquet wafer set or anything else wafer_tf.readers reads. One record per wafer, in the order of the set, the
same as the station writes; its id is LOT/WAFER, or SET:ROW from 0 where the lot or the wafer is not known. An OUT that
ends in .parquet has a row per record, as `python -m edge.station classify --parquet` writes them; any other has JSON
lines. For a folder of Parquet files OUT may be a folder too; then each has a file of its name in it.

OUT is there when it is whole. What was judged until then lies in OUT.partial: the same command, started again after
whatever ended it, goes on from there. Needs pyarrow, so it runs beside a station rather than on it.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.sets import judging
from edge.sets.judging import Chunk, chunks_of, judge_all
from edge.sets.parts import Parts, open_parts
from edge.station.flags import add_arguments, load
from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats import flags as reading
from wafer_tf.version import __version__
from wafer_tf.whole_files import file_sha256

if TYPE_CHECKING:
    from edge.station.classifier import Classifier

EXAMPLE = """example:
  python -m edge.classify wm811k.parquet --bundle nano --out calls.parquet
  python -m edge.classify wm811k.parquet --bundle bundle --out records.jsonl --require-signature public.pem
  python -m edge.classify sets/ --out calls/
  python -m edge.classify s3a://lake/sets --bundle nano --engine spark --master yarn --out s3a://lake/calls

exit codes: 0 done, 2 usage, 3 bundle refused, 4 bad input, 130 interrupted"""
ENGINES = ("processes", "spark")
AHEAD = 2
"""Chunks in hand per process."""
PARQUET = ".parquet"
HOW = (
    *("bundle", "set", "out", "overwrite", "processes", "threads", "no_cache", "require_signature", "min_version"),
    *("engine", "master"),
)
"""Arguments on which the records do not depend, once the bundle and the set are known by their contents."""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m edge.classify", __doc__, epilog=EXAMPLE)
    p.add_argument(
        "set", type=_place, metavar="SET", help="Parquet, npz, LSWMD.pkl, a tool's file, or a folder of them"
    )
    p.add_argument("--out", type=_place, required=True, metavar="OUT", help="the records: a file, or a folder of files")
    p.add_argument("--overwrite", action="store_true", help="replace OUT, and begin anew if OUT.partial is of others")
    p.add_argument("--processes", type=int, metavar="N", default=0, help="default: as many as there are cores")
    p.add_argument("--hashes", action="store_true", help="in Parquet too, say each map's SHA-256, input_sha256")
    p.add_argument("--no-cache", action="store_true", help="judge every map, those equal to an earlier one too")
    p.add_argument(
        "--engine", choices=ENGINES, default=ENGINES[0], help="where the work is done (default: %(default)s)"
    )
    p.add_argument("--master", metavar="URL", help="of Spark, such as yarn (default: local[*], the cores here)")
    add_arguments(p, files=True)
    return p


def _place(text: str) -> Path | str:
    """Return a path, or a URI such as s3a://lake/sets as it is."""
    return text if "://" in text else Path(text)


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported: every core has a process of its own
    args = parser().parse_args(argv)
    return run_command(lambda: _on_spark(args) if args.engine == "spark" else classify(args))


def _on_spark(args: argparse.Namespace) -> None:
    from edge.spark import classify

    classify(args)


def classify(args: argparse.Namespace) -> None:
    """Judge every wafer of a set, or of each set of a folder, and write the records, whole or not at all."""
    for place in (args.set, args.out):
        if not isinstance(place, Path):
            raise UsageError(f"{place}: is no path of this machine; expected one, or --engine spark.")
    if args.master:
        raise UsageError("--master goes with --engine spark.")
    processes = args.processes or _cores()
    if processes < 1:
        raise UsageError(f"--processes {processes}; expected at least 1.")
    many = args.set.is_dir() and (args.out.is_dir() or not args.out.suffix)
    if not many:
        _check_target(args.out)
    classifier = load(args)  # refuses here, once, not in every process
    with judging.pool_of(args, processes, classifier.bundle.sha256) as pool:
        for path, out in _each(args.set, args.out) if many else [(args.set, args.out)]:
            about = _about(args, classifier, path)
            if many and _is_of(out, about):
                print(f"{out}: is there already", file=sys.stderr)
                continue
            with open_parts(out, about, overwrite=args.overwrite) as parts:
                _judge(args, path, parts, about, pool, processes)


def _judge(
    args: argparse.Namespace, path: Path, parts: Parts, about: dict[str, Any], pool: Executor, processes: int
) -> None:
    """Judge one set into one file, from the parts on that are there."""
    from tqdm import tqdm

    from edge.sets.columns import write_json_lines, write_parquet
    from edge.station.inputs import shown_name
    from wafer_tf.readers import open_source

    if parts.done:
        print(f"wrote {parts.out}", file=sys.stderr)
        return
    there, lines, started = parts.numbers(), parts.out.suffix != PARQUET, time.perf_counter()
    before = 0
    try:
        with (
            open_source(path, options=reading.options(args), progress=True) as source,
            tqdm(desc=f"judging {path.name}", total=source.rows, unit=" wafers", mininterval=0.5) as bar,
        ):
            source.tell()

            def missing() -> Iterator[Chunk]:
                nonlocal before
                name = shown_name(str(path))
                for chunk in chunks_of(source.batches(), file=name, folder=parts.folder, lines=lines):
                    if chunk.number not in there:
                        yield chunk
                        continue
                    before += len(chunk.wafers)
                    bar.update(len(chunk.wafers))

            for count in judge_all(pool, missing(), ahead=AHEAD * processes):
                bar.update(count)
    except BrokenProcessPool:
        raise InputError(
            "a process ended before its work was done: out of memory, killed, or the bundle changed. What was judged "
            f"is kept in {parts.folder}, and the same command goes on from it. Try fewer --processes."
        ) from None
    join = write_json_lines if lines else partial(write_parquet, metadata={METADATA: _text(about)})
    decisions = parts.finish(join)
    seconds = time.perf_counter() - started
    judged = ", ".join(f"{count} {decision}" for decision, count in sorted(decisions.items()))
    earlier = f", {before} of them earlier" if before else ""
    rate = f"{(decisions.total() - before) / seconds:.0f} wafers/s on {processes} processes, start included"
    print(f"{decisions.total()} wafers{earlier}: {judged}\n{seconds:.1f} s, {rate}\nwrote {parts.out}", file=sys.stderr)


METADATA = b"wafer_tf calls"
"""Key of the Parquet file's metadata that says what the calls are of, as JSON."""


def _about(args: argparse.Namespace, classifier: "Classifier", path: Path) -> dict[str, Any]:
    """Return all that the records depend on, as plain JSON values."""
    from edge.station.inputs import shown_name

    return {
        "wafer_tf": __version__,
        "bundle_sha256": classifier.bundle.sha256,
        "xnnpack": classifier.xnnpack,
        "set": shown_name(str(path)),
        "set_sha256": _sha256(path),
        "wafers_a_part": judging.CHUNK,
        "reading": reading.as_words(classifier.options),
        **{name: str(value) for name, value in sorted(vars(args).items()) if name not in HOW and value is not None},
    }


def _sha256(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder: of a line for each file below it."""
    if not path.is_dir():
        return file_sha256(path) if path.is_file() else ""
    lines = (f"{file_sha256(file)} {file.relative_to(path)}\n" for file in sorted(path.rglob("*")) if file.is_file())
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def _text(about: dict[str, Any]) -> bytes:
    return json.dumps(about).encode()


def _is_of(out: Path, about: dict[str, Any]) -> bool:
    """Whether a file is there and holds the calls that would be written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return (pq.read_schema(out).metadata or {}).get(METADATA) == _text(about)
    except (OSError, pa.ArrowException):
        return False


def _each(sets: Path, out: Path) -> list[tuple[Path, Path]]:
    """Return each set of a folder with the file for its records."""
    found = sorted(sets.glob(f"*{PARQUET}"))
    if not found:
        raise InputError(f"{sets}: no file *{PARQUET} in it; expected some, as OUT is a folder (--out {out}).")
    _check_target(out / found[0].name, made=True)
    out.mkdir(exist_ok=True)
    if out.samefile(sets):
        raise UsageError(f"{out}: is the folder of the sets; name another for the records (--out).")
    return [(path, out / path.name) for path in found]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_target(path: Path, *, made: bool = False) -> None:
    folder = path.parent.parent if made else path.parent
    if path.exists() and not path.is_file():
        raise UsageError(f"{path}: is no file; expected the name of a file to write (--out).")
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; make it first.")


if __name__ == "__main__":
    sys.exit(main())
