"""A detached signature over the exact bytes of a file, as openssl writes it too.

Ed25519, or ECDSA on P-256 with SHA-256 or on P-384 with SHA-384; the signature is raw (64 bytes, or DER). A station
that asks for none needs no more than before: `cryptography` is imported where a key is read.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from wafer_tf.errors import UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    PublicKey: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey
    PrivateKey: TypeAlias = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey

KINDS = "Ed25519, or ECDSA on P-256 or P-384"
MAX_BYTES = 64 * 2**10
"""A key or signature larger than this is none."""
_ED25519_BYTES = 64


def public_key(path: str | os.PathLike[str]) -> "PublicKey":
    """Read a public key (PEM).

    Raises:
        UsageError: no such file, no key, one of another kind, or `cryptography` is not installed.
    """
    path = Path(path)
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path)
    if b"PRIVATE KEY-----" in content:
        raise UsageError(
            f"key {path}: holds a private key; expected the public one, which alone belongs on a station: "
            f"openssl pkey -in {path} -pubout -out public.pem"
        )
    try:
        key = load_pem_public_key(content)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"key {path}: no public key in PEM form; expected {KINDS}.") from error
    if isinstance(key, ed25519.Ed25519PublicKey) or (isinstance(key, ec.EllipticCurvePublicKey) and _hash_of(key)):
        return key
    raise UsageError(f"key {path}: {_kind(key)}; expected {KINDS}.")


def private_key(path: str | os.PathLike[str]) -> "PrivateKey":
    """Read a private key (PEM, without a password).

    Raises:
        UsageError: as of `public_key`, or the key needs a password.
    """
    path = Path(path)
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(path)  # its error is a ValueError too
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"key {path}: no private key in PEM form without a password; expected {KINDS}.") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and _hash_of(key):
        return key
    raise UsageError(f"key {path}: {_kind(key)}; expected {KINDS}.")


def sign(content: bytes, key: "PrivateKey") -> bytes:
    """Return the signature of `content`."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(content)
    return key.sign(content, ec.ECDSA(_hash_of(key)))


def fault(content: bytes, signature: bytes, key: "PublicKey") -> str | None:
    """Return what is wrong with a signature of `content`, or None where it is the key's own."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if isinstance(key, ed25519.Ed25519PublicKey) and len(signature) != _ED25519_BYTES:
        return f"is {len(signature)} bytes long; a signature by Ed25519 has {_ED25519_BYTES}"
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, content)
        else:
            key.verify(signature, content, ec.ECDSA(_hash_of(key)))
    except InvalidSignature:
        return f"({len(signature)} bytes) is not the signature of this file by this key"
    return None


def _hash_of(key: "ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey") -> Any:
    """Return the hash that goes with the key's curve, or None for a curve that is not taken."""
    from cryptography.hazmat.primitives import hashes

    return {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384()}.get(key.curve.name)


def _kind(key: object) -> str:
    curve = getattr(key, "curve", None)
    if curve is not None:
        return f"holds an elliptic-curve key on {curve.name}"
    name = type(key).__name__.lstrip("_").removesuffix("PublicKey").removesuffix("PrivateKey")
    return f"holds a key of the kind {name}"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"key {path}: cannot be read ({error.strerror}); expected a PEM file.") from error
    if len(content) > MAX_BYTES:
        raise UsageError(f"key {path}: larger than {MAX_BYTES} bytes; expected a PEM file.")
    return content


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"signature: the package cryptography cannot be imported ({error}), and signatures need it: "
            "pip install cryptography (or 'WHEEL[sign]', WHEEL being wafer_tf's)."
        ) from error
