"""Sign a bundle with an offline key, and hold it against its signature.

The hashes in a bundle find damage; a signature also finds a bundle that somebody else made. It lies in the bundle as
bundle.json.sig: Ed25519, or ECDSA on P-256 or P-384, of the exact bytes of bundle.json, whose hashes bind the rest.
A station that is told --require-signature checks it on the bytes it goes on to use; `verify` is for looking before.
Needs the package cryptography: pip install 'WHEEL[sign]', WHEEL being wafer_tf's.

With --whole-folder it is OpenSSF's model-signing instead, for a supply chain that wants it: beside the folder, in
NAME.sig, over every file in it. Stations do not read that one. pip install model-signing==1.1.1 pyopenssl (which it
imports without asking for it).
"""

import argparse
import hashlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wafer_tf import signature
from wafer_tf.bundle import MANIFEST, SIGNATURE, load_bundle
from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import ModelError, UsageError
from wafer_tf.whole_files import whole_file

if TYPE_CHECKING:
    from wafer_tf.signature import PrivateKey

EXAMPLE = """example, with a key pair made once and the private key kept offline:
  openssl genpkey -algorithm ed25519 -out private.pem
  openssl pkey -in private.pem -pubout -out public.pem
  python -m edge.signing sign runs/NAME/bundle --key private.pem
  python -m edge.verify runs/NAME/bundle --key public.pem
  python -m edge.station selftest --bundle runs/NAME/bundle --require-signature public.pem

exit codes: 0 done, 2 usage, 3 the bundle is not what was signed"""


# === The signature that a station checks ===


def signer(key: str | os.PathLike[str]) -> "PrivateKey":
    """Read a private key (PEM), for `sign`.

    Raises:
        UsageError: that is no key that signs bundles, or cryptography is not installed.
    """
    return signature.private_key(key)


def sign(bundle: str | os.PathLike[str], key: "PrivateKey") -> Path:
    """Sign a bundle that is whole with what `signer` gave, and return the signature's path; an earlier one is replaced.

    Raises:
        ModelError: the bundle is damaged; what no station would take is not signed.
    """
    bundle = Path(bundle)
    sha256 = load_bundle(bundle, allow_ungated=True).sha256
    content = (bundle / MANIFEST).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(f"bundle {bundle}: was replaced while it was signed; sign it anew.")
    with whole_file(bundle / SIGNATURE) as out:
        out.write(signature.sign(content, key))
    return bundle / SIGNATURE


def verify(bundle: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
    """Hold a bundle against its signature and a public key (PEM).

    Raises:
        UsageError: that is no key that signs bundles, or cryptography is not installed.
        ModelError: there is no signature, it is another key's, or the bundle is not what was signed.
    """
    load_bundle(bundle, allow_ungated=True, require_signature=key)


# === The whole folder, by model-signing ===


def folder_signature(bundle: str | os.PathLike[str]) -> Path:
    """Return where model-signing's signature of a bundle lies."""
    bundle = Path(bundle)
    bundle = bundle.resolve()
    return bundle.with_name(f"{bundle.name}.sig")


def sign_folder(bundle: str | os.PathLike[str], key: str | os.PathLike[str]) -> Path:
    """Sign a bundle folder by an elliptic-curve private key (PEM), and return the signature's path.

    Raises:
        UsageError: model-signing is not installed, or that is no such key or folder.
    """
    bundle, key = Path(bundle), Path(key)
    config = _library("signing").Config()
    _require_file(key)
    try:
        config = config.use_elliptic_key_signer(private_key=key)
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_key(key, "private", error) from error
    if not bundle.is_dir():
        raise UsageError(f"bundle {bundle}: no such folder.")
    target = folder_signature(bundle)
    config.sign(bundle.resolve(), target)
    return target


def verify_folder(bundle: str | os.PathLike[str], key: str | os.PathLike[str]) -> None:
    """Hold a bundle folder against model-signing's signature and an elliptic-curve public key (PEM).

    Raises:
        UsageError: model-signing is not installed, or that is no such key.
        ModelError: there is no signature, it is another key's, or the folder is not what was signed.
    """
    bundle, key = Path(bundle), Path(key)
    config = _library("verifying").Config()
    _require_file(key)
    try:
        config = config.use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError, AttributeError) as error:
        raise _no_key(key, "public", error) from error
    target = folder_signature(bundle)
    if not target.is_file():
        raise ModelError(
            f"bundle {bundle}: no signature {target.name} beside it; expected what edge.signing sign --whole-folder "
            "wrote."
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
        ("sign", "Sign a bundle; the signature is written into it.", "private key (PEM)"),
        ("verify", "Hold a bundle against its signature.", "public key (PEM)"),
    ):
        job = jobs.add_parser(name, description=what, epilog=EXAMPLE, help=what)
        job.add_argument("bundle", type=Path, metavar="BUNDLE")
        job.add_argument("--key", type=Path, required=True, help=key)
        job.add_argument(
            "--whole-folder",
            action="store_true",
            help="model-signing's signature of every file, beside the folder, instead; the last to be made",
        )
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(lambda: _run(args))


def _run(args: argparse.Namespace) -> None:
    if args.job == "verify":
        (verify_folder if args.whole_folder else verify)(args.bundle, args.key)
        print(f"{args.bundle}: as signed")
    elif args.whole_folder:
        print(sign_folder(args.bundle, args.key))
    else:
        print(sign(args.bundle, signer(args.key)))
        if (beside := folder_signature(args.bundle)).is_file():
            print(f"{beside} is of the folder as it was before: sign --whole-folder makes it anew", file=sys.stderr)


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
