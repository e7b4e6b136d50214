"""A signature is the key's own over these very bytes, and a key of a kind that is named, or they are refused."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.signing import keys
from wafer_tf import signature
from wafer_tf.errors import UsageError

KINDS = ("ed25519", "p256", "p384")
RAW = "pkeyutl -rawin"
CONTENT = b'{"format": 1}\n'


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_is_of_these_bytes_by_this_key(kind: str, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours", kind)
    strange = signature.public_key(keys(tmp_path, "theirs", kind)[1])
    key, made = signature.public_key(public), signature.sign(CONTENT, signature.private_key(private))
    assert signature.fault(CONTENT, made, key) is None
    assert signature.fault(CONTENT + b" ", made, key)
    assert signature.fault(CONTENT, made, strange)
    for cut in range(len(made)):
        assert signature.fault(CONTENT, made[:cut], key), cut
    assert signature.fault(CONTENT, made + b"\n", key)
    for bit in range(8 * len(made)):
        changed = bytearray(made)
        changed[bit // 8] ^= 1 << bit % 8
        assert signature.fault(CONTENT, bytes(changed), key), bit


def test_a_signature_by_another_kind_of_key_is_refused(tmp_path: Path) -> None:
    for ours in KINDS:
        key = signature.public_key(keys(tmp_path, "ours", ours)[1])
        for theirs in set(KINDS) - {ours}:
            made = signature.sign(CONTENT, signature.private_key(keys(tmp_path, "theirs", theirs)[0]))
            assert signature.fault(CONTENT, made, key)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("rsa", "RSA"), ("ed448", "Ed448"), ("p521", "secp521r1"), ("secp256k1", "secp256k1")],
)
def test_a_key_of_another_kind_is_refused_by_name(kind: str, name: str, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "other", kind)
    for read, path in ((signature.private_key, private), (signature.public_key, public)):
        with pytest.raises(UsageError, match=f"{name}; expected Ed25519, or ECDSA on P-256 or P-384"):
            read(path)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours", "ed25519")
    for name, content in {
        "empty": b"",
        "text": b"key",
        "large": b"-" * 10**6,
        "half": public.read_bytes()[:60],
    }.items():
        (tmp_path / name).write_bytes(content)
    for path in (tmp_path, tmp_path / "absent", *(tmp_path / name for name in ("empty", "text", "large", "half"))):
        for read in (signature.public_key, signature.private_key):
            says = {"absent": "cannot be read", "large": "larger than 65536 bytes"}.get(path.name, "expected")
            with pytest.raises(UsageError, match=says):
                read(path)
    with pytest.raises(UsageError, match="holds a private key; expected the public one"):
        signature.public_key(private)
    with pytest.raises(UsageError, match="no private key in PEM form without a password"):
        signature.private_key(public)


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form

    key = signature.private_key(keys(tmp_path, "ours", "ed25519")[0])
    locked = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"word"))
    (tmp_path / "locked.pem").write_bytes(locked)
    with pytest.raises(UsageError, match="without a password"):
        signature.private_key(tmp_path / "locked.pem")


def test_without_cryptography_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, public = keys(tmp_path, "ours", "ed25519")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError, match=r"pip install cryptography \(or 'WHEEL\[sign\]'"):
        signature.public_key(public)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize(
    ("kind", "sign", "verify"),
    [
        ("ed25519", f"{RAW} -sign -inkey K -in M -out S", f"{RAW} -verify -pubin -inkey P -in M -sigfile S"),
        ("p256", "dgst -sha256 -sign K -out S M", "dgst -sha256 -verify P -signature S M"),
        ("p384", "dgst -sha384 -sign K -out S M", "dgst -sha384 -verify P -signature S M"),
    ],
)
def test_openssl_writes_and_reads_the_same_signatures(kind: str, sign: str, verify: str, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "ours", kind)
    places = {"K": private, "P": public, "M": tmp_path / "m", "S": tmp_path / "ours.sig"}
    places["M"].write_bytes(CONTENT)

    def openssl(words: str) -> int:
        command = ["openssl", *(places.get(word, word) for word in words.split())]
        return subprocess.run(command, capture_output=True, check=False).returncode

    places["S"].write_bytes(signature.sign(CONTENT, signature.private_key(private)))
    assert openssl(verify) == 0
    places["S"].unlink()
    assert openssl(sign) == 0
    theirs = places["S"].read_bytes()
    assert signature.fault(CONTENT, theirs, signature.public_key(public)) is None
