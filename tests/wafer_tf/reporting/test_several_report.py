"""The report of several patterns: its figures are those of the scores, as text, as JSON and as a picture."""

import json
from pathlib import Path

import matplotlib.image
import numpy as np

from wafer_tf.decision.patterns import Patterns
from wafer_tf.reporting.several_report import format_several, write_several
from wafer_tf.reporting.words import WIDTH
from wafer_tf.scoring.several import PatternScores, false_seconds, score_patterns

TRUE = np.array([0, 1, 128, 129, 129, 0b1010001, 1], np.uint8).repeat(20)
FOUND = np.where(np.arange(len(TRUE)) % 10 == 0, 1, TRUE)
GROUP = np.arange(len(TRUE)) // 2
RULE = Patterns((0.25, *(0.5,) * 7))


def scores(found: np.ndarray) -> PatternScores:
    known = false_seconds([1, 1, 0, 0, 0], [3, 1, 0, 0, 0], group=range(5))
    return score_patterns(TRUE, found, group=GROUP, known=known, draws=100)


def test_the_text_has_every_way_every_pattern_and_what_is_falsely_second() -> None:
    text = format_several(scores(FOUND), source="drawn", patterns=RULE, beside={"top two": scores(TRUE)})
    lines = text.splitlines()
    assert "drawn: 140 wafers in 70 groups" in text
    assert max(map(len, lines)) <= WIDTH
    assert next(line for line in lines if "top two" in line and "1.000" in line)
    exact = scores(FOUND).exact
    assert f"{exact.value:.3f} [{exact.low:.3f}, {exact.high:.3f}]" in text
    center = next(line for line in lines if line.strip().startswith("Center "))
    assert center.split()[1] == "100" and center.endswith("0.250")
    assert "1 of 2 wafers with one pattern: 50.00" in text
    assert "0 of 3 wafers with none: 0.00" in text


def test_three_files_are_written_and_the_json_holds_the_scores(tmp_path: Path) -> None:
    found = scores(FOUND)
    written = write_several(tmp_path / "run", found, source="drawn", patterns=RULE, beside={"top two": scores(TRUE)})
    names = [path.relative_to(tmp_path / "run").as_posix() for path in written]
    assert names == ["figures/patterns.png", "patterns.txt", "patterns_report.json"]
    data = json.loads(written[2].read_text())
    assert PatternScores.from_json(data["scores"]).to_json() == found.to_json()
    assert data["beside"]["top two"]["exact"]["value"] == 1
    assert data["thresholds"][0] == 0.25
    picture = matplotlib.image.imread(written[0])
    assert picture.shape[1] > 900 and picture.std() > 0.1
