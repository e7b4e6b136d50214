"""Fit a bundle's decision, prediction sets and operating points to another fab's labelled wafers, without training.

The int8 model stays as it is, byte for byte. What is fitted anew: temperature and class biases, where wafers of other
groups show that it is worth it; the thresholds of the prediction sets; the unknown score, so that the fab's own
patterns are known; the operating points, of which those that keep their names are offered. The thresholds of the
patterns of wafers that have several are kept. The new bundle names the old one and the maps.
"""

import argparse
import sys
from pathlib import Path

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import UsageError
from wafer_tf.formats import flags as reading
from wafer_tf.released import DEFAULT, NAMES, bundle_folder

EXAMPLE = """example:
  python -m edge.calibrate wafer --data our_labelled_maps.parquet --out our_bundle
  python -m edge.station classify lot7/*.npy --bundle our_bundle --operating-point few-escapes

BUNDLE.calibration.txt and .json beside the new bundle say how the old and the new one do on these maps.
exit codes: 0 done, 2 usage, 3 bundle refused, 4 bad input"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    from training.operating import add_goal_arguments

    p = CommandParser("python -m edge.calibrate", __doc__, epilog=EXAMPLE)
    p.add_argument(
        "bundle",
        nargs="?",
        default=DEFAULT,
        metavar="BUNDLE",
        help=f"a folder that edge.convert made, or a released model: {' or '.join(NAMES)} (default: {DEFAULT})",
    )
    p.add_argument(
        "--data", type=Path, required=True, metavar="MAPS", help="the fab's labelled maps, with their lots where known"
    )
    p.add_argument("--out", type=Path, required=True, metavar="NEW", help="folder of the new bundle")
    p.add_argument("--overwrite", action="store_true", help="replace a bundle that is at NEW")
    p.add_argument(
        "--mix",
        metavar="MIX",
        help="class shares or wafer counts of the fab, all nine classes: a JSON file, or CLASS=SHARE,... (default: "
        "those of the maps)",
    )
    add_goal_arguments(p)
    p.add_argument("--seed", type=int, default=0, metavar="N", help="of folds, draws and intervals (default 0)")
    p.add_argument(
        "--bundle-version", type=int, metavar="N", help="number of the new release (default: that of the old bundle)"
    )
    p.add_argument("--sign", type=Path, metavar="KEY.pem", help="sign the new bundle with this private key")
    p.add_argument("--require-signature", metavar="KEY.pem", help="refuse an old bundle not signed by this key's owner")
    p.add_argument("--allow-ungated", action="store_true", help="accept an old bundle that did not pass the gate")
    reading.add_arguments(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: _calibrate(args))


def _calibrate(args: argparse.Namespace) -> None:
    from training.operating import goals

    wanted = goals(args)
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more.")
    if args.bundle_version is not None and not 0 <= args.bundle_version < 10**18:
        raise UsageError(f"--bundle-version {args.bundle_version}; expected 0 or more, of at most 18 digits.")
    if args.out.exists() and not args.overwrite:
        raise UsageError(f"bundle {args.out}: already there; --overwrite replaces it, --out writes elsewhere.")

    import json

    from edge.gate.calibrated import calibrated, format_calibrated, write_calibrated
    from edge.signing import folder_signature, sign, signer
    from wafer_tf.bundle import load_bundle
    from wafer_tf.readers import read
    from wafer_tf.scoring.mix import read_mix
    from wafer_tf.whole_files import write_whole

    key = signer(args.sign) if args.sign else None
    mix = read_mix(args.mix) if args.mix else None
    old = bundle_folder(args.bundle)
    bundle = load_bundle(old, allow_ungated=args.allow_ungated, require_signature=args.require_signature)
    wafers = read(args.data, options=reading.options(args), progress=True)
    found = calibrated(
        bundle, wafers, data_name=args.data.name, mix=mix, goals=wanted, coverage=args.coverage, seed=args.seed
    )
    sha256 = write_calibrated(args.out, found, old=old, release=args.bundle_version, replace=args.overwrite)
    folder_signature(args.out).unlink(missing_ok=True)
    text = format_calibrated(found)
    write_whole(args.out.with_name(f"{args.out.name}.calibration.txt"), f"{text}\n")
    report = json.dumps(found.to_json(), indent=1, allow_nan=False)
    write_whole(args.out.with_name(f"{args.out.name}.calibration.json"), f"{report}\n")
    print(f"{text}\n\nbundle: {args.out}  (SHA-256 {sha256})")
    if key is not None:
        print(f"signature: {sign(args.out, key)}")


if __name__ == "__main__":
    sys.exit(main())
