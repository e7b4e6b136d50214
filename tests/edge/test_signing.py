import sys
from pathlib import Path

import pytest

from edge.signing import main, signature_path


def _keys(folder: Path, name: str) -> tuple[Path, Path]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(
        key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "bundle.json").write_text("{}")
    (folder / "model_int8.tflite").write_bytes(b"model")
    return folder


def test_a_signed_bundle_verifies_until_a_byte_or_the_key_is_another(bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_signing", reason="model-signing is optional and not installed", exc_type=ImportError)
    private, public = _keys(tmp_path, "ours")
    stranger, strange = _keys(tmp_path, "theirs")
    assert main(["verify", str(bundle), "--key", str(public)]) == 3
    assert main(["sign", str(bundle), "--key", str(private)]) == 0
    assert main(["verify", str(bundle), "--key", str(public)]) == 0
    assert main(["verify", str(bundle), "--key", str(strange)]) == 3
    assert main(["sign", str(bundle), "--key", str(public)]) == 2
    (bundle / "model_int8.tflite").write_bytes(b"modem")
    assert main(["verify", str(bundle), "--key", str(public)]) == 3
    assert main(["sign", str(bundle), "--key", str(stranger)]) == 0
    assert main(["verify", str(bundle), "--key", str(public)]) == 3
    signature_path(bundle).write_text("no signature")
    assert main(["verify", str(bundle), "--key", str(strange)]) == 3


def test_the_signature_lies_beside_the_bundle_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v1.2").mkdir()
    monkeypatch.chdir(tmp_path / "v1.2")
    assert signature_path(Path()) == signature_path(tmp_path / "v1.2") == tmp_path / "v1.2.sig"


@pytest.mark.parametrize("job", ["sign", "verify"])
def test_without_the_library_the_command_says_what_to_install(
    job: str, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("model_signing", "model_signing.signing", "model_signing.verifying"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main([job, str(bundle), "--key", "key.pem"]) == 2
    assert "pip install model-signing==" in capsys.readouterr().err
