"""The hot folder's command: watch a folder until told to stop. Needs the standard library alone."""

import argparse
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from edge.station.hot_folder.bundle_on_disk import BundleOnDisk
from edge.station.hot_folder.faults import FIRST_RETRY_S
from edge.station.hot_folder.inbox import DONE, MAX_BYTES, QUARANTINE, Inbox
from edge.station.hot_folder.loop import HotFolder, JudgeFile
from edge.station.hot_folder.own_names import check_own_names
from edge.station.hot_folder.status import Status
from wafer_tf.command import INTERRUPTED, called
from wafer_tf.errors import InputError, UsageError

EPILOG = """example:
  station watch incoming --out records --metrics-file /var/lib/node_exporter/wafer_tf.prom

OUT/records.jsonl     one record per wafer: files of the same contents are one wafer
OUT/duplicates.jsonl  every other name under which recorded contents came
IN/done, quarantine   files on record; those that could not be judged with NAME.reason.txt beside them
DIR                   with --unknown-to: files on record with a wafer that is unlike the known patterns

A writer best names a file .NAME or NAME.tmp, .part or .partial, and renames it when it is whole. A file leaves IN only
after its record is safely on the disk, so that a station may be stopped, or killed, at any moment and started again.
Tools' files are read in a process of their own; a file that ends it twice, or the station three times, goes to
quarantine. A full or read-only disk and a share that is away are said on stderr, waited for and survived; the wafers
stay in IN.
SIGTERM and Ctrl-C finish the wafer in hand first. The metrics count from the start of the process.
To archive records, move records.jsonl away: a new one is begun, and wafers it does not hold are judged anew.

exit codes: 0 after SIGTERM or --once, 2 usage, 3 bundle refused, 4 bad input, 130 after Ctrl-C"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `run`, and what a user should know, to a command's parser."""
    parser.epilog = called(EPILOG)
    parser.add_argument("inbox", metavar="IN", type=Path, help="folder the files of maps arrive in")
    parser.add_argument("--out", type=Path, required=True, help="folder of records.jsonl and duplicates.jsonl")
    parser.add_argument("--poll", metavar="S", type=float, default=1.0, help="seconds between looks (default: 1)")
    parser.add_argument(
        "--settle",
        metavar="S",
        type=float,
        default=2.0,
        help="seconds a file must not have changed before it is read (default: 2), ten times that where it is empty or "
        "looks unfinished; give more than the attribute cache of a network share, and than any pause of a writer that "
        "does not rename its files when they are whole",
    )
    parser.add_argument(
        "--unknown-to",
        metavar="DIR",
        type=Path,
        help='files with a wafer whose decision is "unknown" go there instead of into done: a folder for the station '
        "alone, on the file system of IN, made if it is not there",
    )
    parser.add_argument("--metrics-file", metavar="FILE", type=Path, help="keep counters there as Prometheus text")
    parser.add_argument(
        "--reload",
        action="store_true",
        help="when the bundle is replaced on disk, take the new one after its self-test; one that fails is said, and "
        "the old one judges on (default: that it was replaced is said)",
    )
    parser.add_argument("--once", action="store_true", help="judge what is there, then end; exit 4 if something failed")


def run(
    args: argparse.Namespace,
    judge: JudgeFile,
    *,
    bundle_sha256: str,
    bundle: BundleOnDisk,
    prepare: Callable[[bytes | BinaryIO], None],
) -> int:
    """Watch as the flags of `add_arguments` say; return the exit code."""
    return watch(
        args.inbox,
        args.out,
        judge,
        bundle_sha256=bundle_sha256,
        bundle=bundle,
        prepare=prepare,
        poll_s=args.poll,
        settle_s=args.settle,
        metrics_file=args.metrics_file,
        unknown_to=args.unknown_to,
        once=args.once,
    )


def watch(
    inbox: str | os.PathLike[str],
    out: str | os.PathLike[str],
    judge: JudgeFile,
    *,
    bundle_sha256: str,
    bundle: BundleOnDisk | None = None,
    prepare: Callable[[bytes | BinaryIO], None] = lambda file: None,
    poll_s: float = 1.0,
    settle_s: float = 2.0,
    metrics_file: str | os.PathLike[str] | None = None,
    unknown_to: str | os.PathLike[str] | None = None,
    once: bool = False,
    max_bytes: int = MAX_BYTES,
    report_s: float = 60.0,
    first_retry_s: float = FIRST_RETRY_S,
) -> int:
    """Judge every file that arrives in a folder until SIGTERM or SIGINT; the wafer in hand is finished first.

    A second signal ends the process at once, which loses nothing. What is wrong with the folders at the start ends the
    command; what goes wrong later, and a full or read-only disk at any time, is said, waited for and survived.

    Args:
        inbox: an existing folder.
        out: made if it is not there.
        judge: gives the records of a file's maps, by its bytes, or the open file where it is over
            inbox.MAX_IN_MEMORY, and its name. An exception says that the station is at fault, not the file: that stays
            and is tried again.
        bundle_sha256: of the bundle that judges.
        bundle: what lies in its folder, which is looked at now and then.
        prepare: does with a file what is slow and not its fault, before it is noted as in hand: a station that is
            killed meanwhile raises no suspicion.
        poll_s: seconds between looks.
        settle_s: seconds a file must not have changed, over at least two looks; see inbox.PATIENCE for longer ones.
        metrics_file: Prometheus text is kept there.
        unknown_to: folder on the file system of `inbox`, for files with a wafer whose decision is "unknown"; None: they
            go where the others go.
        once: end as soon as nothing waits that can be judged.
        max_bytes: a larger file is rejected without being judged.
        report_s: seconds between the lines on stderr.
        first_retry_s: seconds before what failed is tried again; doubles up to faults.MAX_RETRY_S.

    Returns:
        0 after SIGTERM or `once`, 130 after SIGINT, 4 after `once` where something failed.

    Raises:
        UsageError: another station works in one of the folders, they do not belong together, something is in the place
            of the station's own files and folders, or a wrong value.
        InputError: `inbox` is no folder.
        OSError: `out` is a file or may not be made or written.
    """
    inbox = Path(inbox)
    out = Path(out)
    metrics_file = None if metrics_file is None else Path(metrics_file)
    unknown_to = None if unknown_to is None else Path(unknown_to)
    if not poll_s > 0 or not settle_s >= 0:
        raise UsageError(f"--poll {poll_s:g} --settle {settle_s:g}: expected more than 0 and at least 0 seconds.")
    if not inbox.is_dir():
        raise InputError(f"IN {inbox}: no such folder; expected the one the maps arrive in.")
    if metrics_file is not None and metrics_file.exists() and not metrics_file.is_file():
        raise UsageError(f"--metrics-file {metrics_file}: is no file, and would be replaced by one; name a file.")
    if out.resolve() in {(inbox / name).resolve() for name in (".", DONE, QUARANTINE)}:
        raise UsageError(f"OUT {out}: expected a folder of its own, not IN or its {DONE} or {QUARANTINE}.")
    check_own_names(inbox, out, unknown_to=unknown_to)
    station = HotFolder(
        Inbox(inbox, settle_s=settle_s, max_bytes=max_bytes, unknown_to=unknown_to),
        out,
        judge,
        status=Status(bundle_sha256, metrics_file=metrics_file, report_s=report_s, first_retry_s=first_retry_s),
        bundle=bundle,
        prepare=prepare,
    )
    with _stopped_by_signals(station):
        code = station.work(poll_s=poll_s, once=once)
    return INTERRUPTED if station.stop == signal.SIGINT else code


@contextmanager
def _stopped_by_signals(station: HotFolder) -> Iterator[None]:
    """Ask the station to stop on SIGTERM and SIGINT; a second one has its usual effect."""

    def ask(number: int, frame: FrameType | None) -> None:
        station.stop = number
        signal.signal(number, signal.SIG_DFL)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell asks for its background jobs
                before[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
