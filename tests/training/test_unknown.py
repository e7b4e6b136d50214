"""Teaching a finished run what it does not know: its files, and that its own answers stay."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from training.unknown import main
from wafer_tf.decision.unknown import Unknown
from wafer_tf.errors import ModelError
from wafer_tf.learning.branch import features_of, repeats_of
from wafer_tf.learning.prediction import predict_logits
from wafer_tf.learning.run_folder import RunFolder
from wafer_tf.synthesis import synthesize
from wafer_tf.synthesis.others import NAMES


def test_a_run_holds_a_model_with_features_that_gives_its_own_logits_and_a_score(small_run: Path) -> None:
    wafers = synthesize(3, seed=9).wafers
    model = RunFolder.open(small_run).taught_model()
    logits, features = features_of(model, wafers)
    np.testing.assert_array_equal(logits, predict_logits(RunFolder.open(small_run).model(), wafers))
    unknown = Unknown.from_bytes((small_run / "unknown.npz").read_bytes())
    score = unknown.score(features, repeats_of(wafers), logits.argmax(axis=1))
    assert ((score >= 0) & (score <= 1)).all()


def test_the_report_counts_every_family_and_every_class(small_run: Path) -> None:
    found = json.loads((small_run / "unknown.json").read_text())
    assert sorted(found["families"]) == sorted(NAMES)
    assert not found["families_unseen"]  # one split: the branch learned them all
    assert found["known_flagged_at_0.01"]["wafers"] == found["known_wafers"] > 0
    told = (small_run / "unknown.txt").read_text()
    assert all(name in told for name in (*NAMES, *found["classes"]))


def test_a_taught_run_is_not_taught_again_unasked(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small_run)]) == 2
    assert "--overwrite teaches the run anew" in capsys.readouterr().err


def test_a_teaching_that_is_stopped_leaves_a_run_that_can_be_used_and_taught(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    path = shutil.copytree(small_run, tmp_path / "run")
    (tmp_path / "empty.npz").write_bytes(b"")
    assert main([str(path), "--overwrite", "--also-known", str(tmp_path / "empty.npz")]) == 4
    assert (path / "unknown.npz").read_bytes() == (small_run / "unknown.npz").read_bytes()
    monkeypatch.setattr("training.unknown.branch_of", stopped)
    assert main([str(path), "--overwrite"]) == 130
    RunFolder.open(path).model()
    assert not (path / "unknown.npz").exists() and not (path / "unknown.keras").exists()
    monkeypatch.undo()
    assert main([str(path)]) == 0
    assert (path / "unknown.npz").read_bytes() == (small_run / "unknown.npz").read_bytes()
    capsys.readouterr()


def test_a_run_by_folds_is_judged_by_wafers_and_families_it_has_not_learned(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from training.job import load_config, load_data
    from training.unknown import branch_of, teach
    from wafer_tf.splitting.splits import make_folds

    learned: list[tuple[int, set[str]]] = []

    def noted(config, classifier, wafers, families, also_known):  # type: ignore[no-untyped-def]
        learned.append((len(wafers), set(families)))
        return branch_of(config, classifier, wafers, families, also_known)

    monkeypatch.setattr("training.unknown.branch_of", noted)
    path = shutil.copytree(small_run, tmp_path / "run")
    run = RunFolder.open(path)
    config = load_config(run)
    wafers = load_data(config)
    split = make_folds(wafers, 2, seed=0)
    for fold in ("1", "2"):  # the classifiers of the folds; here they are the run's own
        one = RunFolder.create(path / "folds" / fold)
        one.write_json("config.json", {})
        shutil.copy(path / "model.keras", one.path)
        one.finish()
    teach(config, run, wafers, split)
    sizes, families = zip(*learned, strict=True)
    assert sizes == (int((split.part == 1).sum()), int((split.part == 0).sum()), len(wafers))
    assert (
        families[0] | families[1] == families[2] == set(NAMES)
        and not set(NAMES) - families[0] & set(NAMES) - families[1]
    )
    found = json.loads((path / "unknown.json").read_text())
    assert found["families_unseen"] and found["known_wafers"] == len(wafers)
    before = (path / "unknown.npz").read_bytes()
    learned.clear()
    teach(config, run, wafers, split)  # finished folds are not trained again
    assert len(learned) == 1 and (path / "unknown.npz").read_bytes() == before
    kept = path / "unknown" / "fold-1.npz"
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(ModelError, match=r"fold-1\.npz holds no whole array"):
        teach(config, run, wafers, split)
