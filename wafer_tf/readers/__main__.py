"""python -m wafer_tf.readers IN... OUT.parquet: read wafer maps of any format once and keep them as Parquet."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from wafer_tf.command import CommandParser, run
from wafer_tf.errors import InputError
from wafer_tf.formats.flags import add_arguments, options
from wafer_tf.formats.options import DEFAULT, Options

FIGURES = ("class_counts.png", "map_sizes.png", "yield_per_class.png", "maps_per_class.png")


EXAMPLE = """example:
  python -m wafer_tf.readers LSWMD.pkl wm811k.parquet --report wm811k_report
  python -m wafer_tf.readers lot7/*.stdf.gz lot7.parquet

exit codes: 0 done, 2 usage, 4 bad input"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    command = CommandParser(
        "python -m wafer_tf.readers",
        "Convert wafer maps to a Parquet wafer set and print what was found.",
        epilog=EXAMPLE,
    )
    command.add_argument(
        "inputs", type=Path, nargs="+", metavar="IN", help="files of tools, Parquet, npz, LSWMD.pkl, or folders of them"
    )
    command.add_argument("output", type=Path, metavar="OUT", help="the Parquet file to write")
    command.add_argument("--report", type=Path, metavar="DIR", help="also draw figures of what was found into DIR")
    command.add_argument("--overwrite", action="store_true", help="replace OUT and the figures in DIR if they exist")
    add_arguments(command)
    return command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; see `parser`."""
    args = parser().parse_args(argv)
    return run(
        lambda: convert(args.inputs, args.output, report=args.report, overwrite=args.overwrite, reading=options(args))
    )


def convert(
    source_paths: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    *,
    report: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    reading: Options = DEFAULT,
) -> None:
    """Convert files of wafers to one Parquet file, batch by batch, and print what it holds."""
    target = Path(target)
    report = None if report is None else Path(report)
    from tqdm import tqdm

    from wafer_tf.readers import open_source
    from wafer_tf.readers.parquet import check_target, write_batches
    from wafer_tf.readers.summary import Summary
    from wafer_tf.waferset import WaferSet

    check_target(target, overwrite=overwrite)
    if report is not None:
        _check_report(report, target, overwrite=overwrite)
    summary = Summary(with_yields=report is not None)
    with ExitStack() as opened:
        sources = [opened.enter_context(open_source(path, options=reading, progress=True)) for path in source_paths]
        for source in sources:
            if target.exists() and source.path.exists() and target.samefile(source.path):
                raise InputError(f"{target}: is the input; name another file to write.")
            source.tell()
        rows = sum(source.rows for source in sources)
        with tqdm(desc=f"writing {target.name}", total=rows, unit=" wafers", mininterval=0.5) as bar:

            def shown() -> Iterator[WaferSet]:
                for source in sources:
                    for batch in summary.watch(source.batches()):
                        yield batch
                        bar.update(len(batch))

            several = any(source.several for source in sources)
            write_batches(shown(), target, overwrite=overwrite, several=several)
        for source in sources:
            print(f"read {source.path}: {source.kind}", file=sys.stderr)
    print(summary.text())
    if report is not None:
        from wafer_tf.figures.data import draw_report

        report.mkdir(parents=True, exist_ok=True)
        for path in draw_report(summary, report):
            print(f"figure {path}", file=sys.stderr)
    print(f"wrote {target}", file=sys.stderr)


def _check_report(report: Path, target: Path, *, overwrite: bool) -> None:
    for folder in (report, *report.parents):
        if folder == target or (folder.exists() and not folder.is_dir()):
            raise InputError(f"{folder}: is a file; expected a folder for the figures (--report {report}).")
    made = [name for name in FIGURES if (report / name).exists()]
    if made and not overwrite:
        raise InputError(f"{report / made[0]}: exists already; pass --overwrite to replace it, or name another folder.")


if __name__ == "__main__":
    sys.exit(main())
