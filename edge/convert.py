"""Quantize a finished run, hold it against the float model, and write the bundle a station accepts.

The bundle holds the operating points that keep their names, and prediction sets, both by the quantized model's answers
to wafers that did not train it.

Prints one table, the float model, dynamic-range weights and the quantized model side by side, then every limit of the
accuracy gate. Where int8 fails it, the next remedy is tried: more calibration maps, then finer activation ranges that
clip the extremes of some maps, then 16-bit activations, which take many times as long.
"""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import UsageError
from wafer_tf.released import results, run_folder

EXAMPLE = """example:
  python -m edge.convert --int8 runs/20261122-101500-resnet16
  python -m edge.convert runs/20261122-101500-resnet16 --bundle-version 20261126 --sign private.pem --overwrite
  python -m edge.station selftest --bundle runs/20261122-101500-resnet16/bundle

BUNDLE.gate.txt, .gate.json and .gate.png beside the bundle say what the gate found, also where it fails.
exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input, 5 accuracy gate failed, no bundle"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    from edge.gate.comparison import Limits
    from edge.quantization.recipes import DEFAULT_MAPS, RECIPES
    from training.operating import add_goal_arguments

    limits = Limits()
    p = CommandParser("python -m edge.convert", __doc__, epilog=EXAMPLE)
    p.add_argument(
        "run",
        type=run_folder,
        nargs="?",
        metavar="RUN",
        help="a finished run folder, or wafer or nano (default: the newest in runs/)",
    )
    recipe = p.add_mutually_exclusive_group()
    for name in ("int8", "int16x8"):
        more = " (the default)" if name == "int8" else "; XNNPACK does not run it"
        recipe.add_argument(
            f"--{name}", dest="recipe", action="store_const", const=name, default="int8", help=RECIPES[name].says + more
        )
    p.add_argument("--out", type=Path, metavar="BUNDLE", help="the bundle's folder (default: RUN/bundle)")
    p.add_argument("--overwrite", action="store_true", help="replace a bundle that is there")
    p.add_argument(
        "--calibration-maps",
        type=int,
        default=DEFAULT_MAPS,
        metavar="N",
        help=f"training maps that show the activations' ranges (default {DEFAULT_MAPS})",
    )
    p.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of the choice of calibration maps and of the intervals (default 0)",
    )
    p.add_argument("--sign", type=Path, metavar="KEY.pem", help="sign the bundle with this private key: edge.signing")
    p.add_argument(
        "--bundle-version",
        type=int,
        default=0,
        metavar="N",
        help="number of the release, the higher the later, for a station's --min-version; may be a date (default 0)",
    )
    add_goal_arguments(p)
    gate = p.add_argument_group("accuracy gate, on the run's test part")
    gate.add_argument(
        "--min-agreement",
        type=float,
        default=limits.min_agreement,
        metavar="PER-CENT",
        help=f"of the maps, called as by the float model (default {limits.min_agreement})",
    )
    gate.add_argument(
        "--max-macro-f1-drop",
        type=float,
        default=limits.max_macro_f1_drop,
        metavar="POINTS",
        help=f"a point is a hundredth (default {limits.max_macro_f1_drop})",
    )
    gate.add_argument(
        "--max-recall-drop",
        type=float,
        default=limits.max_recall_drop,
        metavar="POINTS",
        help="of each class; fails where the drop's whole 95 %% interval is above it "
        f"(default {limits.max_recall_drop:g})",
    )
    gate.add_argument(
        "--min-unknown-agreement",
        type=float,
        default=limits.min_unknown_agreement,
        metavar="PER-CENT",
        help="of known wafers and drawn other patterns, flagged as unknown as by the float model "
        f"(default {limits.min_unknown_agreement:g})",
    )
    gate.add_argument(
        "--max-unknown-auroc-drop",
        type=float,
        default=limits.max_unknown_auroc_drop,
        metavar="POINTS",
        help=f"of AUROC, known wafers against other patterns (default {limits.max_unknown_auroc_drop})",
    )
    gate.add_argument(
        "--min-set-agreement",
        type=float,
        default=limits.min_set_agreement,
        metavar="PER-CENT",
        help=f"of the maps, with the prediction set of the float model (default {limits.min_set_agreement:g})",
    )
    gate.add_argument(
        "--max-coverage-drop",
        type=float,
        default=limits.max_coverage_drop,
        metavar="POINTS",
        help="of each class's coverage by its prediction sets; fails as of --max-recall-drop "
        f"(default {limits.max_coverage_drop:g})",
    )
    gate.add_argument(
        "--min-patterns-agreement",
        type=float,
        default=limits.min_patterns_agreement,
        metavar="PER-CENT",
        help="of mixed and known wafers, given the patterns that the float model gives "
        f"(default {limits.min_patterns_agreement:g})",
    )
    gate.add_argument(
        "--max-bit-f1-drop",
        type=float,
        default=limits.max_bit_f1_drop,
        metavar="POINTS",
        help=f"of the patterns' mean F1 on mixed wafers (default {limits.max_bit_f1_drop})",
    )
    gate.add_argument("--no-remedies", action="store_true", help="judge the first attempt alone")
    gate.add_argument(
        "--no-gate",
        action="store_true",
        help="write the first attempt whatever the gate finds, marked as ungated: a station refuses it "
        "unless told --allow-ungated",
    )
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: _convert(args))


def _convert(args: argparse.Namespace) -> None:
    from edge.gate.comparison import Limits
    from edge.signing import sign, signer
    from training.operating import goals
    from wafer_tf.learning.run_folder import newest_run

    limits = Limits(**{field.name: getattr(args, field.name) for field in fields(Limits)})
    if args.calibration_maps < 1:
        raise UsageError(f"--calibration-maps {args.calibration_maps}; expected at least 1, better 100 or more.")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more.")
    if not 0 <= args.bundle_version < 10**18:
        raise UsageError(f"--bundle-version {args.bundle_version}; expected 0 or more, of at most 18 digits.")
    wanted = goals(args)
    key = signer(args.sign) if args.sign else None
    run = args.run or newest_run()
    out = args.out or results(run, "bundle")
    if out.exists() and not args.overwrite:
        raise UsageError(f"bundle {out}: already there; --overwrite replaces it, --out writes elsewhere.")

    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    from edge.gate.gated_bundle import Options, convert

    convert(
        run,
        out,
        Options(
            recipe=args.recipe,
            calibration_maps=args.calibration_maps,
            seed=args.seed,
            limits=limits,
            gated=not args.no_gate,
            remedies=not args.no_remedies,
            overwrite=args.overwrite,
            release=args.bundle_version,
            goals=wanted,
            coverage=args.coverage,
        ),
    )
    if key is not None:
        print(f"signature: {sign(out, key)}")


if __name__ == "__main__":
    sys.exit(main())
