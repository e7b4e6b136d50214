"""The inspection station: judge wafer maps with a bundle. Needs numpy and ai-edge-litert alone, and no internet.

classify   judge files, or standard input (-), and print one JSON record per map
watch      judge every file that arrives in a folder
inspect    say what is in files, and why one cannot be read
verify     look for changed or missing lines among the records of a hot folder
selftest   check a bundle and let it judge its golden maps
bench      how fast this machine is with it
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edge.station.flags import add_arguments, load
from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats import flags as reading

if TYPE_CHECKING:
    from edge.station.classifier import Classifier
    from edge.station.inspect import Inspected
    from edge.station.records import Record

PIPE_CLOSED = 141
"""Exit code where the reader of the records went away, as a shell gives it."""
EXAMPLE = """examples:
  station classify lot7/*.npy > records.jsonl
  camera | station classify - --bundle nano
  station watch incoming --out records --bundle bundle
  station inspect lot2.stdf.gz
  station verify records
  station selftest --bundle bundle --require-signature public.pem --min-version 20261126
  station bench --bundle bundle

station is `python -m edge.station` or `python station.pyz`.
exit codes: 0 done, 2 usage, 3 bundle refused, 4 bad input (or, with --strict, a map that was rejected)"""
MAPS = """a file is what a prober, tester or inspection tool wrote, told by its content, never by its name:
  STDF V4, ATDF       results of a test, part by part
  KLARF 1.1 to 2.0    defects of an inspection; a die with a defect fails
  SEMI E142, G85      maps in XML
  SINF, WMAP, TSK, Electroglas     maps of probers
  table of dies       CSV with a row per die: x, y, bin
  grid                0 no die, 1 pass, 2 fail: a row per line as CSV or text; npy; npz; up to 2,000 a side
packed by gzip, bzip2, xz or zip, if you like; a file of many wafers gives a record for each. `wafer-tf inspect FILE`
says what is in a file. standard input may be one such file, npy arrays one after another, or text grids parted by blank
lines. a map that cannot be judged is a record with a reason, and does not stop the others."""


def parser(job_asked: str | None = None) -> argparse.ArgumentParser:
    """Return the command's arguments; those of `watch`, whose import takes a while, only where it is the job asked."""
    p = CommandParser("station", __doc__, epilog=EXAMPLE)
    jobs = p.add_subparsers(dest="job", required=True, metavar="JOB")
    job = jobs.add_parser("classify", description=MAPS, epilog=EXAMPLE, help="judge files")
    job.add_argument("maps", nargs="+", metavar="MAP", help="a file of maps, or - for standard input")
    job.add_argument("--strict", action="store_true", help="exit with 4 if a map was rejected")
    add_arguments(job, files=True)
    job = jobs.add_parser("watch", description="Judge every file that arrives in IN.", help="hot folder")
    if job_asked == "watch":
        from edge.station.hot_folder.watch import add_arguments as add_watch_arguments

        add_watch_arguments(job)
    add_arguments(job, files=True)
    what = "Say what is in files: format, lot, wafers, grid, dies, bins, retests, and what was assumed."
    job = jobs.add_parser("inspect", description=what, epilog=EXAMPLE, help="look into files")
    add_inspect_arguments(job)
    what = "Look for changed or missing lines among the records in OUT; exit code 4 where one is found."
    job = jobs.add_parser("verify", description=what, epilog=EXAMPLE, help="check records")
    job.add_argument("out", type=Path, metavar="OUT", help="the folder of `station watch --out`")
    what = "Check a bundle, then judge its golden maps."
    job = jobs.add_parser("selftest", description=what, epilog=EXAMPLE, help="check a bundle")
    add_arguments(job)
    what = "Measure the station on this machine, map by map."
    job = jobs.add_parser("bench", description=what, epilog=EXAMPLE, help="measure speed")
    job.add_argument("maps", nargs="*", metavar="MAP", help="files to measure with (default: the golden maps, as npy)")
    job.add_argument("--count", metavar="N", type=int, default=1000, help="maps to judge (default: 1000)")
    job.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add_arguments(job)
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # Before numpy is imported: its matrix products are too small for threads, which would take cores from the tool.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    argv = sys.argv[1:] if argv is None else argv
    if sys.stderr is None:  # closed by the caller: print() would put people's words among the records
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # and the next file opened would get LiteRT's
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    args = parser(next(iter(argv), None)).parse_args(argv)
    jobs = {"classify": classify, "watch": watch, "inspect": look_into, "verify": verify}
    jobs |= {"selftest": selftest, "bench": bench}
    return run_command(lambda: jobs[args.job](args))


def classify(args: argparse.Namespace) -> int:
    """Print one record per map, each as soon as it is there."""
    if args.maps.count("-") > 1:
        raise UsageError("-: standard input can be read only once.")
    if sys.stdout is None:
        raise InputError("standard output: is closed; the records are printed there.")
    from edge.station.records import to_line

    classifier = load(args)
    decisions: Counter[str] = Counter()
    try:
        for name in args.maps:
            for record in _from_input(classifier) if name == "-" else _from_file(classifier, name):
                _write(to_line(record))
                decisions[record["decision"]] += 1
    except BrokenPipeError:
        return PIPE_CLOSED
    counted = ", ".join(f"{count} {decision}" for decision, count in sorted(decisions.items()))
    print(f"{decisions.total()} maps{': ' if counted else ''}{counted}", file=sys.stderr)
    return InputError.exit_code if args.strict and decisions["rejected"] else 0


def watch(args: argparse.Namespace) -> int:
    """Judge every file that arrives in a folder until told to stop."""
    from edge.station.hot_folder.watch import run

    classifier = load(args)
    return run(args, classifier.judge_each, bundle_sha256=classifier.bundle.sha256)


def add_inspect_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `inspected`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="in any format that classify reads")
    parser.add_argument("--all", action="store_true", help="every wafer of a file in full, not the first alone")
    parser.add_argument("--json", action="store_true", help="a line of JSON per file instead")
    reading.add_arguments(parser)


def look_into(args: argparse.Namespace) -> int:
    """Print what is in files; a file that cannot be read is explained, and makes the exit code 4."""
    return 0 if all(file.whole for file in inspected(args)) else InputError.exit_code


def inspected(args: argparse.Namespace) -> "list[Inspected]":
    """Look into files, print what is in each, and return it.

    Raises:
        InputError: a file is not there.
    """
    from edge.station.inspect import inspect, report, to_line

    options = reading.options(args)
    found = []
    for number, name in enumerate(args.files):
        shown = os.fsencode(name).decode(errors="backslashreplace")
        try:
            with _open(name) as file:
                found.append(inspect(file, shown, options))
        except OSError as error:
            raise InputError(f"{shown}: cannot be read ({error.strerror}); expected a file of wafer maps.") from error
        text = to_line(found[-1]) if args.json else "\n" * (number > 0) + report(found[-1], every=args.all)
        _write(text + "\n")
    return found


def verify(args: argparse.Namespace) -> int:
    """Print what is wrong with the records of a hot folder."""
    from edge.station.hot_folder.record_files import faults

    found, lines = faults(args.out)
    for fault in found:
        print(fault)
    said = (
        f"{len(found)} faults; start the station: it sets them aside and judges their wafers again"
        if found
        else "whole"
    )
    print(f"{args.out}: {lines} lines, {said}")
    return InputError.exit_code if found else 0


def selftest(args: argparse.Namespace) -> int:
    """Check the bundle and print what was checked; a bundle that fails is refused."""
    classifier = load(args)
    bundle = classifier.bundle
    print(f"bundle    {bundle.sha256}: every file as it was written")
    signed = f"by the key of {args.require_signature}" if bundle.signed else "not asked for (--require-signature)"
    print(f"signature {signed}")
    print(f"release   {bundle.release}")
    print(f"gate      {'passed' if bundle.passed else 'NOT passed (--allow-ungated)'}")
    print(
        f"model     {bundle.input.dtype}, input and output as stated, XNNPACK {'on' if classifier.xnnpack else 'off'}"
    )
    print(f"golden    {len(bundle.golden.grids)} maps, logits at most {classifier.golden_lsb} steps from the gate's")
    print("decision  turns the golden logits into the gate's probabilities")
    return 0


def bench(args: argparse.Namespace) -> int:
    """Print how fast the station is on this machine."""
    import json

    from edge.station.speed import format_timing, measure

    if args.count < 1:
        raise UsageError(f"--count {args.count}; expected at least 1.")
    classifier = load(args)
    files = []
    for name in args.maps:
        with _open(name) as file:
            files.append(file.read())
    timing = measure(classifier, files, count=args.count, threads=args.threads)
    print(json.dumps(timing.to_json(), indent=2) if args.json else format_timing(timing))
    return 0


def _write(line: str) -> None:
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails once more when it ends
        if isinstance(error, BrokenPipeError):
            raise
        raise InputError(f"standard output: cannot be written ({error.strerror}); the last record is lost.") from error


def _from_file(classifier: "Classifier", name: str) -> Iterator["Record"]:
    shown = os.fsencode(name).decode(errors="backslashreplace")
    try:
        with _open(name) as file:
            yield from classifier.judge_each(file, shown)
    except OSError as error:
        yield classifier.reject(shown, f"{shown}: cannot be read ({error.strerror}); expected a file of wafer maps.")


def _from_input(classifier: "Classifier") -> Iterator["Record"]:
    from edge.station.stream import split

    with open(0, "rb", closefd=False) as stream:  # a descriptor, not a path
        for number, piece in enumerate(split(stream)):
            yield from classifier.judge_each(piece, f"stdin:{number}")


def _open(name: str) -> BinaryIO:
    """Open a file to be read more than once; a pipe is read into memory."""
    from io import BytesIO

    from edge.station.inputs import MAX_BYTES

    file = open(name, "rb")  # noqa: PTH123, SIM115  # the name as given: a Path would drop a leading ./
    if file.seekable():
        return file
    with file:
        return BytesIO(file.read(MAX_BYTES + 1))


if __name__ == "__main__":
    sys.exit(main())
