"""Tables as CSV: what a spreadsheet and pandas make of them."""

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wafer_tf.dies import CLASSES
from wafer_tf.errors import UsageError
from wafer_tf.synthesis import synthesize
from wafer_tf.tables import calls_table, csv_file, csv_text, judged_table, write_csv


def test_a_table_of_calls_reads_back_to_six_decimals(tmp_path: Path) -> None:
    wafers = synthesize(2, seed=5).wafers
    prob = np.random.default_rng(5).dirichlet(np.ones(len(CLASSES)), len(wafers))
    table = judged_table(wafers, prob)
    back = pd.read_csv(write_csv(tmp_path / "calls.csv", table))
    assert back.columns.tolist() == table.columns.tolist()
    assert back["true_label"].tolist() == [wafer.label for wafer in wafers]
    assert back["label"].tolist() == [CLASSES[c] for c in prob.argmax(axis=1)]
    np.testing.assert_allclose(back[list(CLASSES)], prob, atol=5.1e-7)
    assert back["wafer"].tolist() == wafers.wafer_index.tolist()


def test_a_call_is_in_review_below_the_given_probability() -> None:
    wafers = synthesize({"Loc": 1, "none": 1}, seed=5).wafers
    prob = np.full((2, len(CLASSES)), 0.4 / 8)
    prob[0, 4] = prob[1, 8] = 0.6
    assert calls_table(wafers, prob)["decision"].tolist() == ["defect", "none"]
    assert calls_table(wafers, prob, review_below=0.61)["decision"].tolist() == ["review", "review"]


def test_an_unknown_score_decides_above_its_limit_and_has_a_column_of_its_own() -> None:
    wafers = synthesize({"Loc": 1, "none": 1}, seed=5).wafers
    prob = np.full((2, len(CLASSES)), 0.4 / 8)
    prob[0, 4] = prob[1, 8] = 0.6
    table = calls_table(wafers, prob, np.array([0.995, 0.98]))
    assert table["decision"].tolist() == ["unknown", "none"]
    assert table["unknown_score"].tolist() == [0.995, 0.98]
    assert calls_table(wafers, prob, np.array([0.995, 0.98]), unknown_above=1)["decision"].tolist() == [
        "defect",
        "none",
    ]
    assert calls_table(wafers, prob, np.array([0.5, 0.6]), unknown_above=0.5)["decision"].tolist() == [
        "defect",
        "unknown",
    ]
    assert "unknown_score" not in calls_table(wafers, prob)


def test_whole_numbers_stay_whole_and_what_is_missing_is_empty() -> None:
    table = pd.DataFrame(
        {
            "rows": pd.Series([25, None], dtype=object),
            "may_escape": pd.Series([True, None], dtype=object),
            "yes": np.array([True, False]),
            "prob": np.array([0.5, np.nan], np.float32),
            "count": np.array([7, 2**40]),
            "kept": pd.array([3, None], dtype="Int64"),
        }
    )
    assert csv_text(table).splitlines()[1:] == ["25,yes,yes,0.500000,7,3", ",,no,,1099511627776,"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_text_is_taken_for_a_formula(start: str) -> None:
    text = csv_text(pd.DataFrame({"lot": [f"{start}1+1", "A\r=1+1"], "x": [-1.5, 2.0]}))
    back = list(csv.reader(io.StringIO(text, newline="")))
    shown = start.replace("\r", " ")
    assert back == [["lot", "x"], [f"'{shown}1+1", "-1.500000"], ["A =1+1", "2.000000"]]


def test_a_file_that_cannot_be_made_is_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("kept")
    assert csv_file(None, overwrite=False) is None
    assert csv_file(tmp_path / "new.csv", overwrite=False) == tmp_path / "new.csv"
    assert csv_file(tmp_path / "there.csv", overwrite=True) == tmp_path / "there.csv"
    with pytest.raises(UsageError, match="is there already; add --overwrite"):
        csv_file(tmp_path / "there.csv", overwrite=False)
    for path in (tmp_path, tmp_path / "absent" / "new.csv"):
        with pytest.raises(UsageError, match="expected a file in a folder that is there"):
            csv_file(path, overwrite=True)
    assert (tmp_path / "there.csv").read_text() == "kept"
