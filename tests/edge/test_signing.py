"""Signing and verifying by command: the station's signature, and model-signing's of the whole folder."""

import shutil
import sys
from pathlib import Path

import pytest

from edge.signing import folder_signature, main
from tests.signing import keys
from wafer_tf.bundle import MANIFEST, SIGNATURE
from wafer_tf.released import released


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(released("nano") / "bundle", tmp_path / "bundle"))


@pytest.mark.parametrize("kind", ["ed25519", "p256", "p384"])
def test_a_signed_bundle_verifies_until_a_byte_or_the_key_is_another(
    kind: str, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = keys(tmp_path, "ours", kind)
    stranger, strange = keys(tmp_path, "theirs", kind)
    assert main(["verify", str(bundle), "--key", str(public)]) == 3
    assert "bundle.json.sig is missing" in capsys.readouterr().err
    assert main(["sign", str(bundle), "--key", str(private)]) == 0
    assert capsys.readouterr().out == f"{bundle / SIGNATURE}\n"
    assert main(["verify", str(bundle), "--key", str(public)]) == 0
    assert main(["verify", str(bundle), "--key", str(strange)]) == 3
    assert main(["sign", str(bundle), "--key", str(stranger)]) == 0
    assert main(["verify", str(bundle), "--key", str(public)]) == 3
    assert main(["sign", str(bundle), "--key", str(public)]) == 2
    assert main(["verify", str(bundle), "--key", str(strange)]) == 0, "the earlier signature was lost"
    (bundle / "model_int8.tflite").write_bytes(b"modem")
    assert main(["verify", str(bundle), "--key", str(strange)]) == 3
    assert main(["sign", str(bundle), "--key", str(private)]) == 3, "a damaged bundle was signed"
    assert "Traceback" not in capsys.readouterr().err


def test_the_folders_signature_covers_every_file_and_is_told_when_it_is_out_of_date(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("model_signing", reason="model-signing is optional and not installed", exc_type=ImportError)
    private, public = keys(tmp_path, "ours", "p256")
    stranger, strange = keys(tmp_path, "theirs", "p256")
    whole = ["--whole-folder", "--key"]
    assert main(["verify", str(bundle), *whole, str(public)]) == 3
    assert main(["sign", str(bundle), *whole, str(private)]) == 0
    assert not (bundle / SIGNATURE).exists()
    assert main(["verify", str(bundle), *whole, str(public)]) == 0
    assert main(["verify", str(bundle), *whole, str(strange)]) == 3
    assert main(["sign", str(bundle), *whole, str(public)]) == 2
    capsys.readouterr()
    assert main(["sign", str(bundle), "--key", str(private)]) == 0
    assert "--whole-folder makes it anew" in capsys.readouterr().err
    assert main(["verify", str(bundle), *whole, str(public)]) == 3
    assert main(["sign", str(bundle), *whole, str(private)]) == 0
    assert (
        main(["verify", str(bundle), *whole, str(public)]) == main(["verify", str(bundle), "--key", str(public)]) == 0
    )
    (bundle / MANIFEST).write_bytes(b"{}")
    assert main(["verify", str(bundle), *whole, str(public)]) == 3
    assert main(["sign", str(bundle), *whole, str(stranger)]) == 0
    assert main(["verify", str(bundle), *whole, str(public)]) == 3
    folder_signature(bundle).write_text("no signature")
    assert main(["verify", str(bundle), *whole, str(strange)]) == 3


def test_the_folders_signature_lies_beside_it_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "v1.2").mkdir()
    monkeypatch.chdir(tmp_path / "v1.2")
    assert folder_signature(Path()) == folder_signature(tmp_path / "v1.2") == tmp_path / "v1.2.sig"


@pytest.mark.parametrize("job", ["sign", "verify"])
def test_without_the_library_the_command_says_what_to_install(
    job: str, bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cryptography", "model_signing", "model_signing.signing", "model_signing.verifying"):
        monkeypatch.setitem(sys.modules, name, None)
    assert main([job, str(bundle), "--key", "key.pem"]) == 2
    assert "pip install cryptography" in capsys.readouterr().err
    assert main([job, str(bundle), "--whole-folder", "--key", "key.pem"]) == 2
    assert "pip install model-signing==" in capsys.readouterr().err
