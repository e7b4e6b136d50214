"""Key pairs for the tests of signatures."""

from pathlib import Path
from typing import Any


def keys(folder: Path, name: str, kind: str) -> tuple[Path, Path]:
    """Write NAME.pem and NAME.pub.pem of a new key pair, and return them.

    Args:
        folder: where.
        name: of the files.
        kind: "ed25519", "p256", "p384", "p521", "secp256k1", "rsa" or "ed448".
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    curves = {"p256": ec.SECP256R1, "p384": ec.SECP384R1, "p521": ec.SECP521R1, "secp256k1": ec.SECP256K1}
    key: Any
    if kind in curves:
        key = ec.generate_private_key(curves[kind]())
    elif kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    else:
        key = {"ed25519": ed25519.Ed25519PrivateKey, "ed448": ed448.Ed448PrivateKey}[kind].generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    return private, public
