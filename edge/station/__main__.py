"""The inspection station: judge wafer maps with a bundle. Needs numpy and ai-edge-litert alone, and no internet.

classify   judge files, or standard input (-), and print one JSON record per map
watch      judge every file that arrives in a folder
inspect    say what is in files, and why one cannot be read
convert-map
           write a file's maps as SEMI E142, as a table of dies or as a grid
verify     look for changed or missing lines among the records of a hot folder
selftest   check a bundle and let it judge its golden maps
bench      how fast this machine is with it
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from edge.station import classifying, converting, inspecting
from edge.station.flags import add_arguments, load
from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import InputError, UsageError

if TYPE_CHECKING:
    from edge.station.records import Record

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


def parser(job_asked: str | None = None) -> argparse.ArgumentParser:
    """Return the command's arguments; those of `watch`, whose import takes a while, only where it is the job asked."""
    p = CommandParser("station", __doc__, epilog=EXAMPLE)
    jobs = p.add_subparsers(dest="job", required=True, metavar="JOB")
    job = jobs.add_parser("classify", description=classifying.MAPS, epilog=classifying.EXAMPLE, help="judge files")
    classifying.add_arguments(job)
    add_arguments(job, files=True)
    job = jobs.add_parser("watch", description="Judge every file that arrives in IN.", help="hot folder")
    if job_asked == "watch":
        from edge.station.hot_folder.watch import add_arguments as add_watch_arguments

        add_watch_arguments(job)
        job.add_argument(
            "--e142", metavar="DIR", help="also a SEMI E142 file per wafer, LOT_WAFER.xml, with its latest call"
        )
    add_arguments(job, files=True)
    job = jobs.add_parser("inspect", description=inspecting.__doc__, epilog=EXAMPLE, help="look into files")
    inspecting.add_arguments(job)
    what = "Write the maps of a file as SEMI E142, as a table of dies or as a grid."
    job = jobs.add_parser("convert-map", description=what, epilog=converting.EXAMPLE, help="write a map anew")
    converting.add_arguments(job)
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
    jobs = {"classify": classifying.run, "watch": watch, "inspect": inspecting.run, "convert-map": converting.run}
    jobs |= {"verify": verify, "selftest": selftest, "bench": bench}
    return run_command(lambda: jobs[args.job](args))


def watch(args: argparse.Namespace) -> int:
    """Judge every file that arrives in a folder until told to stop."""
    from edge.station.e142_files import E142Folder
    from edge.station.hot_folder.bundle_on_disk import BundleOnDisk
    from edge.station.hot_folder.watch import run
    from edge.station.reading.reader import Reader
    from wafer_tf.released import bundle_folder

    classifiers = [load(args)]
    folder = None if args.e142 is None else E142Folder(args.e142, latest=True)

    reader = Reader(classifiers[-1].options)

    def judge(file: bytes | BinaryIO, name: str) -> Iterator["Record"]:
        for record, wafer in classifiers[-1].judge_found((name, found) for found in reader.find(file, name)):
            if folder is not None:
                folder.write(wafer, record)
            yield record

    def reload() -> str:
        classifiers[:] = [load(args)]
        return classifiers[-1].bundle.sha256

    bundle = BundleOnDisk(bundle_folder(args.bundle), reload=reload if args.reload else None)
    try:
        sha256 = classifiers[-1].bundle.sha256
        return run(args, judge, bundle_sha256=sha256, bundle=bundle, prepare=reader.start)
    finally:
        reader.close()


def verify(args: argparse.Namespace) -> int:
    """Print what is wrong with the records of a hot folder."""
    from edge.station.hot_folder.record_files import faults

    found, lines = faults(args.out)
    for fault in found:
        print(fault)
    remedy = "start the station: it sets them aside and judges their wafers again"
    print(f"{args.out}: {lines} lines, {f'{len(found)} with a fault; {remedy}' if found else 'whole'}")
    return InputError.exit_code if found else 0


def selftest(args: argparse.Namespace) -> int:
    """Check the bundle and print what was checked; a bundle that fails is refused."""
    from wafer_tf.pattern_bits import PATTERNS

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
    print(f"golden    {len(bundle.golden.grids)} maps, outputs at most {classifier.golden_lsb} steps from the gate's")
    print("decision  turns the golden logits into the gate's probabilities")
    features = classifier.tflite.feature_count
    print(f"unknown   {'no score in this bundle' if bundle.unknown is None else f'a score, of {features} features'}")
    several = f"several on one wafer, by a threshold for each of {len(PATTERNS)}"
    print(f"patterns  {several if bundle.patterns else 'not told in this bundle: one label a wafer'}")
    offered = ", ".join(bundle.points) or "balanced alone; the bundle was made without others"
    print(f"points    {offered}")
    sets = "none in this bundle" if bundle.sets is None else f"hold {bundle.sets.coverage:.0%} of each class's wafers"
    print(f"sets      {sets}")
    return 0


def bench(args: argparse.Namespace) -> int:
    """Print how fast the station is on this machine."""
    import json

    from edge.station.inputs import open_input
    from edge.station.speed import format_timing, measure

    if args.count < 1:
        raise UsageError(f"--count {args.count}; expected at least 1.")
    classifier = load(args)
    files = []
    for name in args.maps:
        with open_input(name) as file:
            files.append(file.read())
    timing = measure(classifier, files, count=args.count, threads=args.threads)
    print(json.dumps(timing.to_json(), indent=2) if args.json else format_timing(timing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
