"""Show what a run looked at: `python -m training.explain RUN [MAP ...] [--class Scratch --errors --count 12]`.

Without maps: of the run's test part, right and wrong calls of all nine classes on one sheet. With --class, sheets of
those classes; with --data, of other maps; with MAP, of single grid files. Beside the sheets lie heat.npz (the heat maps
at die resolution) and calls.jsonl (one line per map, with a sentence). How far to trust them:
docs/explanation/overlays.md.

Where the model tells several patterns on one wafer, each of them is explained, in a colour of its own; a further sheet
shows wafers of several patterns, out of the test part of those that the run was trained with.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.dies import CLASSES, UNLABELLED
from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats import flags as reading
from wafer_tf.formats.options import Options
from wafer_tf.formats.wafer_map import WaferMap
from wafer_tf.released import results, run_folder

if TYPE_CHECKING:
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.waferset import WaferSet

EXAMPLE = """example:
  python -m training.explain runs/20261122-101500-resnet16 --class Scratch --errors --count 12
  python -m training.explain runs/20261122-101500-resnet16 wafer_07.csv

exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input (of several MAPs the good ones are explained)"""

COUNT_OF_NINE, COUNT_OF_CLASS, COUNT_OF_SEVERAL = 2, 8, 12
"""Maps of each class, and of several patterns, and of each kind that are shown unless --count says otherwise."""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m training.explain", __doc__, epilog=EXAMPLE)
    p.add_argument(
        "run", type=run_folder, metavar="RUN", help="a finished run folder, or a released model: wafer, nano"
    )
    p.add_argument("maps", type=Path, nargs="*", metavar="MAP", help="files of maps, in any format the station reads")
    p.add_argument("--data", type=Path, metavar="OTHER", help="other maps, in any format training.fit reads")
    p.add_argument(
        "--class",
        dest="classes",
        action="append",
        choices=CLASSES,
        metavar="NAME",
        help="only maps of this class (by label, or by call where there is none); may be repeated",
    )
    p.add_argument("--errors", action="store_true", help="only wrong calls")
    p.add_argument(
        "--count",
        type=int,
        metavar="N",
        help=f"at most so many right and so many wrong calls of each class (default {COUNT_OF_NINE}, with --class "
        f"{COUNT_OF_CLASS}), and of wafers of several patterns ({COUNT_OF_SEVERAL})",
    )
    p.add_argument("--all", action="store_true", help="heat maps and sentences of every map, not of those shown alone")
    p.add_argument("--method", metavar="NAME", help="fused (default), layercam, gradcam, gradcam++ or scorecam (slow)")
    p.add_argument(
        "--layer", metavar="NAME", help="layer a method other than fused looks at (docs/explanation/overlays.md)"
    )
    p.add_argument("--out", type=Path, metavar="DIR", help="where everything goes (default: RUN/explanations/NAME)")
    p.add_argument("--csv", type=Path, metavar="FILE", help="also write a row per map: call, probabilities, sentence")
    p.add_argument(
        "--overwrite", action="store_true", help="replace the files of an earlier explanation in DIR, and FILE"
    )
    reading.add_arguments(p, without=["class"])  # here, the class to explain
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_intermixed_args(argv)  # MAP may follow flags
    return run_command(lambda: explain(args))


def explain(args: argparse.Namespace) -> int:
    """Explain calls of a run and write sheets, heat maps and sentences; return the exit code."""
    if args.maps and (args.data or args.classes or args.errors or args.all or args.count is not None):
        raise UsageError("MAP files are all shown: give no --data, --class, --errors, --count or --all with them.")
    if args.count is not None and args.count < 1:
        raise UsageError(f"--count {args.count}; expected at least 1.")
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.tables import csv_file, write_csv
    from wafer_tf.waferset import WaferSet

    run = RunFolder.open(args.run)
    target = args.out or _free(results(args.run, "explanations"), _name(args), numbered=bool(args.maps))
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file; expected a folder for the sheets (--out).")
    if (target / "heat.npz").exists() and not args.overwrite:
        raise UsageError(f"{target}: holds an earlier explanation; add --overwrite or choose another --out.")
    table = csv_file(args.csv, overwrite=args.overwrite)
    names, bad, mixed = list[str](), 0, None
    if args.maps:  # what is bad is said before what takes long is loaded
        names, wafers, bad = _maps(args.maps, reading.options(args))
        if not names:
            raise InputError(f"none of the {bad} files can be explained.")
    else:
        wafers, mixed = _wafers(args, run)

    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    import numpy as np

    from training.explanations import (
        Several,
        draw_sheets,
        explain_calls,
        explained_table,
        join,
        pick,
        pick_several,
        sheet_title,
        wafer_names,
        write_records,
    )
    from wafer_tf.explaining.heat_maps import DEFAULT_METHOD, Explainer
    from wafer_tf.explaining.pattern_heat import patterns_of
    from wafer_tf.learning.models import LOGITS, PATTERN_LOGITS
    from wafer_tf.learning.prediction import predict_heads
    from wafer_tf.splitting.overlap import count_known

    decision, rule = run.decision(), patterns_of(run)
    model = run.model() if rule is None else run.whole_model()
    method = args.method or DEFAULT_METHOD
    explainer = Explainer(model, method=method, layer=args.layer)
    apart = None if rule is None else Explainer(model, method=method, layer=args.layer, head=PATTERN_LOGITS)
    own = len(wafers)
    if mixed is not None:
        wafers = WaferSet.concatenate([wafers, mixed])
    heads = predict_heads(model, wafers)
    prob = decision.probabilities(heads[LOGITS])
    several = None if rule is None else Several.of(rule, heads[PATTERN_LOGITS], prob)
    if args.maps:
        sheets = {"maps": [("", np.arange(len(wafers)))]}
    else:
        names = wafer_names(wafers.select(np.arange(own)), np.arange(own))
        if mixed is not None:
            names += wafer_names(mixed, np.arange(len(mixed)), of="mixed map")
        count = args.count or (COUNT_OF_CLASS if args.classes else COUNT_OF_NINE)
        wanted = [CLASSES.index(name) for name in dict.fromkeys(args.classes or CLASSES)]
        rows = {CLASSES[c]: pick(wafers.label[:own], prob[:own], c, count=count, errors=args.errors) for c in wanted}
        sheets = rows if args.classes else {"all_classes": [join(part) for part in rows.values()]}
        if several is not None and not args.classes:
            chosen = pick_several(wafers, several.bits, count=args.count or COUNT_OF_SEVERAL, errors=args.errors)
            sheets |= {"several_patterns": chosen} if chosen else {}
    shown = np.unique(np.concatenate([chosen for rows in sheets.values() for _, chosen in rows]))
    explained_maps = np.arange(len(wafers)) if args.all else shown
    explained = explain_calls(
        explainer,
        wafers.select(explained_maps),
        prob[explained_maps],
        names=[names[i] for i in explained_maps],
        several=None if apart is None or several is None else (apart, several.select(explained_maps)),
        progress=True,
    )
    if learned := count_known(wafers.select(shown), run.seen()):
        print(
            f"{learned} of the {len(shown)} maps shown, or copies of them, were in the run's training or validation "
            "part: their calls prove nothing",
            file=sys.stderr,
        )
    target.mkdir(parents=True, exist_ok=True)
    for name, rows_of_sheet in sheets.items():
        placed = [(heading, np.searchsorted(explained_maps, chosen)) for heading, chosen in rows_of_sheet]
        for path in draw_sheets(explained, placed, target / f"{name}.png", title=sheet_title(explained.heat)):
            print(path)
    for path in write_records(target, explained):
        print(path)
    if table is not None:
        print(write_csv(table, explained_table(explained, prob[explained_maps])))
    if args.maps:
        from wafer_tf.explaining.narrative import sentence

        for name, facts in zip(explained.names, explained.facts, strict=True):
            print(f"{name}: {sentence(facts)}")
    return InputError.exit_code if bad else 0


def _free(folder: Path, name: str, *, numbered: bool) -> Path:
    """Return where to write; explanations of single MAPs, made again and again, are numbered."""
    number, path = 1, folder / name
    while numbered and (path / "heat.npz").exists():
        number, path = number + 1, folder / f"{name}-{number + 1}"
    return path


def _name(args: argparse.Namespace) -> str:
    part = "maps" if args.maps else args.data.stem if args.data else "test"
    return "-".join([part, *dict.fromkeys(args.classes or ()), *(["errors"] if args.errors else [])])


def _maps(paths: list[Path], options: Options) -> tuple[list[str], "WaferSet", int]:
    """Read files; return the names of their maps, the maps, and how many files are left out. What is wrong is said."""
    from wafer_tf.readers.tool_files import set_of, wafers_of_file

    names, maps, bad = list[str](), list[WaferMap](), 0
    for path in paths:
        try:
            _, found = wafers_of_file(path, options)
        except (InputError, OSError) as error:
            print(f"left out: {f'{path}: {error.strerror}' if isinstance(error, OSError) else error}", file=sys.stderr)
            bad += 1
            continue
        maps += found
        many = len(found) > 1
        names += [f"{path}:{number}" if many else str(path) for number in range(len(found))]
    return names, set_of(maps, [UNLABELLED] * len(maps)), bad


def _wafers(args: argparse.Namespace, run: "RunFolder") -> "tuple[WaferSet, WaferSet | None]":
    """Return the maps to choose from: every map of OTHER, or the run's test part.

    Beside the run's own test part comes that of its wafers of several patterns, None of a run without any and where
    only some classes are asked for.
    """
    from wafer_tf.readers import read

    if args.data:
        wafers = read(args.data, options=reading.options(args), progress=True)
        if args.errors and not len(wafers.labelled) and not wafers.several.any():
            raise InputError(f"{args.data}: no labelled wafer; --errors needs labels to tell wrong calls by.")
        return wafers, None
    from training.job import load_config, load_data
    from training.mixed import SPLIT, load_mixed
    from wafer_tf.splitting.splits import Split

    config = load_config(run)
    if config.data is not None and not Path(config.data).exists():
        raise InputError(
            f"{config.data}: no such file or folder, seen from {Path.cwd()}; it is what the run was trained on. "
            "Run the command where it is found, or explain other maps with --data OTHER or MAP."
        )
    wafers = load_data(config)
    split = Split.load(run.path / "split.npz", wafers)
    test = wafers.select(split.test)
    if args.classes or not (run.path / SPLIT).is_file():
        return test, None
    mixed, parts = load_mixed(config, run, wafers, split)
    return test, mixed.select(parts.test)


if __name__ == "__main__":
    sys.exit(main())
