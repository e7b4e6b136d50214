"""A detached signature of a bundle, by an offline key: `python -m edge.verify BUNDLE --key public.pem`.

The hashes in a bundle find damage; a signature also finds a bundle that somebody else made. It lies beside the
folder, in NAME.sig, and covers every file in it. OpenSSF's model-signing does the work and is installed only where it
is wanted: pip install model-signing==1.1.1 pyopenssl (which it imports without asking for it).
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import ModelError, UsageError

EXAMPLE = """example, with a key pair made once and the private key kept offline:
  openssl ecparam -name prime256v1 -genkey -noout -out private.pem
  openssl ec -in private.pem -pubout -out public.pem
  python -m edge.signing sign runs/NAME/bundle --key private.pem
  python -m edge.verify runs/NAME/bundle --key public.pem

exit codes: 0 done, 2 usage, 3 the bundle is not what was signed"""


def signature_path(bundle: str | os.PathLike[str]) -> Path:
    """Return where the signature of a bundle lies."""
    bundle = Path(bundle)
    bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name}.sig")


def signer(key: str | os.PathLike[str]) -> Any:
    """Read an elliptic-curve private key (PEM), for `sign`.

    Raises:
        UsageError: model-signing is not installed, or that is no such key.
    """
    key = Path(key)
    config = _library("signing").Config()
    _require_file(key)
    try:
        return config.use_elliptic_key_signer(private_key=key)
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_key(key, "private", error) from error


def sign(bundle: str | os.PathLike[str], config: Any) -> Path:
    """Sign a bundle folder with what `signer` gave and return the signature's path; an earlier one is replaced.

    Raises:
        UsageError: no such folder.
    """
    bundle = Path(bundle)
    if not bundle.is_dir():
        raise UsageError(f"bundle {bundle}: no such folder.")
    target = signature_path(bundle)
    config.sign(bundle.resolve(), target)
    return target


def verify(bundle: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
    """Hold a bundle folder against its signature and an elliptic-curve public key (PEM).

    Raises:
        UsageError: model-signing is not installed, or that is no such key.
        ModelError: there is no signature, it is another key's, or the folder is not what was signed.
    """
    bundle = Path(bundle)
    key = Path(key)
    config = _library("verifying").Config()
    _require_file(key)
    try:
        config = config.use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_key(key, "public", error) from error
    target = signature_path(bundle)
    if not target.is_file():
        raise ModelError(
            f"bundle {bundle}: no signature {target.name} beside it; expected what edge.signing sign wrote."
        )
    try:
        config.verify(bundle.resolve(), target)
    except (ValueError, KeyError, TypeError, OSError) as error:
        why = str(error) or type(error).__name__
        raise ModelError(f"bundle {bundle}: not what was signed with the key of {key} ({why}).") from error


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m edge.signing", __doc__, epilog=EXAMPLE)
    jobs = p.add_subparsers(dest="job", required=True, metavar="JOB")
    for name, what, key in (
        ("sign", "Sign a bundle; the signature is written beside it.", "private key (PEM)"),
        ("verify", "Hold a bundle against its signature.", "public key (PEM)"),
    ):
        job = jobs.add_parser(name, description=what, epilog=EXAMPLE, help=what)
        job.add_argument("bundle", type=Path, metavar="BUNDLE")
        job.add_argument("--key", type=Path, required=True, help=key)
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if args.job == "sign":
        print(sign(args.bundle, signer(args.key)))
    else:
        verify(args.bundle, args.key)
        print(f"{args.bundle}: as signed")


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"model_signing.{name}")
    except ImportError as error:
        raise UsageError(
            f"signing: model-signing cannot be imported ({error}); pip install model-signing==1.1.1 pyopenssl."
        ) from error


def _require_file(key: Path) -> None:
    if not key.is_file():
        raise UsageError(f"signing: no such key: {key}.")


def _no_key(path: Path, kind: str, error: Exception) -> UsageError:
    return UsageError(f"signing: {path} is no elliptic-curve {kind} key in PEM form without a password ({error}).")


if __name__ == "__main__":
    sys.exit(main())
