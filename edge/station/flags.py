"""Flags of every command that judges with a bundle, and the classifier they ask for."""

import argparse
import sys
from typing import TYPE_CHECKING

from wafer_tf.formats import flags as reading
from wafer_tf.formats.options import DEFAULT as DEFAULT_OPTIONS
from wafer_tf.released import DEFAULT, NAMES, bundle_folder

if TYPE_CHECKING:
    from edge.station.classifier import Classifier

MAX_THREADS = 64
MAX_DIGITS = 18
"""Of the number of a release; 20261126 has eight."""


def add_arguments(parser: argparse.ArgumentParser, *, files: bool = False) -> None:
    """Add the flags of `load` to a command's parser, with those of reading `files` where it reads any."""
    parser.add_argument(
        "--bundle",
        metavar="B",
        default=DEFAULT,
        help=f"a folder that edge.convert made, or a released model: {' or '.join(NAMES)} (default: {DEFAULT})",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=_threads,
        default=1,
        help="threads of the model; answers do not change (default: 1)",
    )
    decide = parser.add_mutually_exclusive_group()
    decide.add_argument(
        "--operating-point",
        metavar="NAME",
        help="decide by this point of the bundle, such as balanced, few-escapes, few-false-alarms or proven-1-percent; "
        "`selftest` says which it offers (default: balanced)",
    )
    decide.add_argument(
        "--review-below",
        metavar="P",
        type=_probability,
        default=0.5,  # decision.REVIEW_BELOW, which would need numpy
        help='decide "review" where the class called is less likely than this (default: %(default)s)',
    )
    parser.add_argument(
        "--unknown-above",
        metavar="S",
        type=_probability,
        default=0.99,  # decision.unknown.UNKNOWN_ABOVE
        help='decide "unknown" where the unknown score is larger than this; 1: never (default: %(default)s, the '
        "strangest of a hundred known wafers)",
    )
    parser.add_argument("--allow-slow", action="store_true", help="run without the XNNPACK delegate the gate had")
    parser.add_argument("--allow-ungated", action="store_true", help="accept a bundle that did not pass the gate")
    parser.add_argument(
        "--require-signature",
        metavar="KEY.pem",
        help="refuse a bundle that is not signed by the owner of this public key; needs the package cryptography",
    )
    parser.add_argument(
        "--min-version",
        metavar="N",
        type=_version,
        default=0,
        help="refuse a bundle of an earlier release than this (default: 0, any)",
    )
    if files:
        reading.add_arguments(parser)


def load(args: argparse.Namespace) -> "Classifier":
    """Return the classifier the flags ask for.

    Raises:
        ModelError: the bundle is refused.
        UsageError: the profile is none, the key is none, or the bundle does not offer the operating point.
    """
    from edge.station.classifier import Classifier
    from wafer_tf.bundle import load_bundle
    from wafer_tf.decision.points import Point, choose_point

    options = reading.options(args) if hasattr(args, "profile") else DEFAULT_OPTIONS
    bundle = load_bundle(
        bundle_folder(args.bundle),
        allow_ungated=args.allow_ungated,
        require_signature=args.require_signature,
        min_version=args.min_version,
    )
    if not bundle.passed:
        print(f"warning: bundle {args.bundle} did not pass the accuracy gate", file=sys.stderr)
    point = Point(review_below=args.review_below)
    if args.operating_point is not None:
        point = choose_point(bundle.points, args.operating_point, where=f"bundle {args.bundle}")
    return Classifier(
        bundle,
        threads=args.threads,
        allow_slow=args.allow_slow,
        point=point,
        unknown_above=args.unknown_above,
        options=options,
    )


def _threads(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MAX_THREADS):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of 1 to {MAX_THREADS}")
    return int(text)


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number, 0 or more, as edge.convert was given")
    return int(text)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a number from 0 to 1")
    return value
