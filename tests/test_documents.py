"""The documents: links lead somewhere, commands exist, tables agree with their records, no figure is told twice."""

import importlib
import io
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.station.inputs import find_maps
from tests import ROOT
from wafer_tf import WaferSet, read
from wafer_tf.__main__ import VERBS
from wafer_tf.dies import CLASSES
from wafer_tf.scoring.mix import read_mix

PAGES = sorted(
    [
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        ROOT / "benchmarks" / "README.md",
    ]
)
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
TEXT = dict(zip(NAMES, (path.read_text(encoding="utf-8") for path in PAGES), strict=True))
EXAMPLES = ROOT / "docs" / "examples"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
INTERVAL = re.compile(r"\d\.\d{3} \[-?\d\.\d{3}, \d\.\d{3}\]")
RECORD = re.compile(r"<!-- record: ([^;>]+?)(?:; ([^>]+?))? -->\n\n((?:\|.*\n)+)")
FIGURE = re.compile(r"(?<![\w./])-?\d[\d,]*(?:\.\d+)?(?![\w])")


def prose(text: str) -> Iterator[str]:
    """Give the lines of a page that are neither code nor a table."""
    for line in FENCE.sub("", text).splitlines():
        if not line.startswith("|"):
            yield line


@pytest.mark.parametrize("name", NAMES)
def test_lines_are_short(name: str) -> None:
    assert [line for line in prose(TEXT[name]) if len(line) >= 120 and "](" not in line] == []


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for target in LINK.findall(FENCE.sub("", TEXT[name])):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        page = (ROOT / name).parent / path if path else ROOT / name
        assert page.exists(), f"{name}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(_anchor, headings), f"{name}: {target}"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


def commands() -> list[tuple[str, str]]:
    """Return every command line shown in a page, with the page's name; continued lines joined."""
    found = []
    for name, text in TEXT.items():
        for language, block in FENCE.findall(text):
            if language in ("", "sh"):
                lines = block.replace("\\\n", " ").splitlines()
                found += [(name, part) for line in lines for part in re.split(r" \| | && ", line)]
    return found


SHOWN = [
    (name, line)
    for name, line in commands()
    if re.search(r"(wafer-tf|python\S* -m (training|edge|app|wafer_tf))", line)
]


def test_many_commands_are_shown() -> None:
    assert len(SHOWN) > 30


@pytest.mark.parametrize(("name", "line"), SHOWN)
def test_a_command_that_is_shown_exists(name: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    if "-m" in words and words[words.index("-m") + 1] != "pip":
        module, rest = words[words.index("-m") + 1], words[words.index("-m") + 2 :]
    else:
        at = next((i for i, word in enumerate(words) if word.endswith("wafer-tf")), None)
        if at is None:  # the package's or the folder's name, not the command
            return
        verb, *rest = words[at + 1 :]
        if verb.startswith("--"):
            assert verb in ("--help", "--version")
            return
        module, rest = VERBS[verb].module.removesuffix(".__main__"), [*VERBS[verb].words, *rest]
    job = rest[0] if rest and module in ("edge.station", "edge.signing") else ""
    known = flags(module, job)
    assert {word for word in rest if word.startswith("--")} <= known, f"{name}: {line}"


@cache
def flags(module: str, job: str) -> frozenset[str]:
    """Return the flags that a command lists in its --help, of one of its jobs where it has several."""
    try:
        main = importlib.import_module(f"{module}.__main__").main
    except ModuleNotFoundError:
        main = importlib.import_module(module).main
    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        main([job, "--help"] if job else ["--help"])
    return frozenset(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", said.getvalue(), re.MULTILINE))


def test_the_python_example_of_the_readme_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (code,) = [block for language, block in FENCE.findall(TEXT["README.md"]) if language == "python"]
    made: dict[str, Any] = {}
    exec(code, made)
    assert made["calls"]["label"].tolist() == ["Edge-Ring", "Scratch", "none"]


def tables() -> list[tuple[str, str, str, list[str]]]:
    """Return every table that names its record: the page, the records, further words, its rows."""
    return [
        (name, records, also or "", table.splitlines()[2:])
        for name, text in TEXT.items()
        for records, also, table in RECORD.findall(text)
    ]


@pytest.mark.parametrize(("name", "records", "also", "rows"), tables())
def test_a_table_agrees_with_its_record(name: str, records: str, also: str, rows: list[str]) -> None:
    assert unknown(rows, records, also) == [], name


def test_a_figure_that_its_record_does_not_hold_is_found() -> None:
    assert unknown(["| CNN | 0.921 | 0.931 |"], "experiments/yardsticks.json", "") == ["0.931"]


def unknown(rows: list[str], records: str, also: str) -> list[str]:
    """Return the figures of a table, its first column apart, that round no number of its records."""
    held = np.array([figure for path in records.split() for figure in figures(ROOT / path, also)])
    found = [figure for row in rows for figure in FIGURE.findall(row.split("|", 2)[2])]
    return [figure for figure in found if np.abs(held - _value(figure)).min() > _half_a_step(figure)]


def _value(figure: str) -> float:
    return float(figure.replace(",", ""))


def _half_a_step(figure: str) -> float:
    return 0.5 * 10.0 ** -len(figure.partition(".")[2]) + 1e-9


def figures(path: Path, also: str) -> Iterator[float]:
    """Give every number of a JSON file; where a table asks for it also times a factor, and means of rows alike."""
    data = json.loads(path.read_text(encoding="utf-8"))
    factors = [
        1.0,
        *(float(n) for n in re.findall(r"\* (\d+)", also)),
        *(1 / float(n) for n in re.findall(r"/ (\d+)", also)),
    ]
    for number in _numbers(data):
        yield from (number * factor for factor in factors)
    if "means by " in also:
        names = re.findall(r"\w+", also.partition("means by ")[2])
        rows = sorted(data, key=lambda row: [str(row.get(name)) for name in names])
        for _, alike in groupby(rows, key=lambda row: [str(row.get(name)) for name in names]):
            yield float(np.mean([row["macro_f1"] for row in alike]))


def _numbers(data: Any) -> Iterator[float]:
    if isinstance(data, dict):
        yield from (number for value in data.values() for number in _numbers(value))
    elif isinstance(data, list):
        yield from (number for value in data for number in _numbers(value))
    elif isinstance(data, int | float) and not isinstance(data, bool):
        yield float(data)


def test_no_interval_is_told_twice() -> None:
    told = Counter(interval for text in TEXT.values() for interval in INTERVAL.findall(text))
    assert [interval for interval, times in told.items() if times > 1] == []


@pytest.mark.parametrize("name", ["three_wafers.npz", "three_wafers.parquet", "three_wafers.pkl", "three_wafers"])
def test_every_example_of_a_set_holds_the_same_wafers(name: str) -> None:
    wafers, expected = read(EXAMPLES / name), read(EXAMPLES / "three_wafers.npz")
    assert [wafer.label for wafer in wafers] == ["Edge-Ring", "Scratch", "none"]
    assert all((a.map == b.map).all() for a, b in zip(wafers, expected, strict=True))


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv", "txt"])
def test_every_example_of_a_wafer_is_the_scratch(suffix: str) -> None:
    path = EXAMPLES / f"one_wafer.{suffix}"
    (found,) = find_maps(path.read_bytes(), path.name)
    assert (found.grid == read(EXAMPLES / "three_wafers.npz")[1].map).all()


def test_the_example_of_a_table_is_a_set() -> None:
    wafers = read(EXAMPLES / "three_wafers.npz")
    assert repr(WaferSet.from_pandas(wafers.to_pandas())) == repr(wafers)


def test_the_example_of_a_mix_is_one() -> None:
    assert read_mix(str(EXAMPLES / "fab_mix.json")).array.argmax() == CLASSES.index("none")
