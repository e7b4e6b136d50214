"""The rules of who may import whom, read from the sources: imports point one way, and the station carries little."""

import ast
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import ROOT

PACKAGES = ("wafer_tf", "training", "edge", "app")
FLOORS = {
    # floor: modules and packages of it, the lowest first; one imports from its own floor and those below
    0: ("wafer_tf.errors", "wafer_tf.version"),
    1: (
        "wafer_tf.budget",
        "wafer_tf.dies",
        "wafer_tf.signature",
        "wafer_tf.command",
        "wafer_tf.whole_files",
        "wafer_tf.arrays",
        "wafer_tf.as_json",
        "wafer_tf.cells",
        "wafer_tf.released",
        "wafer_tf.pattern_bits",
    ),
    2: ("wafer_tf.encoding", "wafer_tf.decision", "wafer_tf.waferset", "wafer_tf.formats", "wafer_tf.gate_verdict"),
    3: ("wafer_tf.bundle", "wafer_tf.bundle_files", "wafer_tf.readers"),
    4: ("wafer_tf.inference", "wafer_tf.splitting", "wafer_tf.scoring"),
    5: ("wafer_tf.learning", "wafer_tf.figures", "wafer_tf.synthesis"),
    6: ("wafer_tf.reporting", "wafer_tf.explaining"),
    7: ("wafer_tf", "wafer_tf.readers.__main__"),  # and with it the names for users: model, showing
    8: ("training",),
    9: ("edge",),
    10: ("app",),
}
STATION = (
    "edge.station",
    "wafer_tf.arrays",
    "wafer_tf.budget",
    "wafer_tf.bundle",
    "wafer_tf.bundle_files",
    "wafer_tf.command",
    "wafer_tf.decision",
    "wafer_tf.dies",
    "wafer_tf.encoding",
    "wafer_tf.errors",
    "wafer_tf.formats",
    "wafer_tf.gate_verdict",
    "wafer_tf.inference",
    "wafer_tf.pattern_bits",
    "wafer_tf.released",
    "wafer_tf.signature",
    "wafer_tf.version",
    "wafer_tf.whole_files",
)
"""What goes onto a tool."""
STATION_MAY = {"numpy", "ai_edge_litert", *sys.stdlib_module_names}
WHERE_ASKED = {"wafer_tf.signature": {"cryptography"}}
"""What a module of the station imports only where its user asks for what needs it."""
NOT_AT_IMPORT = {
    "ai_edge_litert",
    "cryptography",
    "cv2",
    "keras",
    "keras_hub",
    "matplotlib",
    "optuna",
    "pandas",
    "pyarrow",
    "pyspark",
    "scipy",
    "sklearn",
    "streamlit",
    "tensorflow",
    "tf_keras_vis",
}
"""Slow to import, or not there on a station."""
NEEDED_AT_IMPORT = {
    "wafer_tf.figures": {"matplotlib"},
    "edge.gate.figure": {"matplotlib"},
    "training.announce": {"keras"},  # a Keras callback
    "training.train": {"keras"},
    "training.progress": {"keras", "tensorflow"},  # a Keras callback
    "training.averaging": {"keras", "tensorflow"},  # a Keras callback
    "training.workers": {"keras", "tensorflow"},  # a step of tf.distribute
    "app": {"streamlit"},
}
"""Rooms, and modules, that are imported only where what they need is needed anyway."""


def sources(root: Path) -> dict[str, Path]:
    """Return every module of the project below a folder, by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            name = path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: set[str], *, at_import_only: bool = False) -> Iterator[str]:
    """Give what a module imports; of the project by module, of others by their first name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in _executed(tree) if at_import_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (_target(alias.name, known) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else _target(str(node.module), known)


def _target(name: str, known: set[str]) -> str:
    return name if name in known else name.partition(".")[0]


def _executed(node: ast.AST) -> Iterator[ast.AST]:
    """Give the nodes that run when the module is imported: no function bodies, no blocks for the type checker."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test) in ("TYPE_CHECKING", "__name__ == '__main__'"):
            continue
        yield child
        yield from _executed(child)


def floor(module: str) -> int:
    """Return the floor of a module, that of the longest name in FLOORS that it begins with."""
    names = {name: level for level, names in FLOORS.items() for name in names}
    parts = module.split(".")
    return next(names[n] for i in range(len(parts), 0, -1) if (n := ".".join(parts[:i])) in names)


def faults(root: Path) -> list[str]:
    """Return a line for each import that breaks a rule."""
    modules = sources(root)
    known, found = set(modules), []
    for name, path in modules.items():
        for target in set(imports(path, known)):
            if target in known and floor(target) > floor(name):
                found.append(f"{name} imports {target}, which stands above it")
            if target == name.partition(".")[0] != name and target in PACKAGES:
                found.append(f"{name} imports all of {target}")
            if target in ("tests", "benchmarks", "experiments"):
                found.append(f"{name} imports {target}")
        if _of_station(name):
            for target in set(imports(path, known)) - WHERE_ASKED.get(name, set()):
                if target in known and not _of_station(target) and target not in ("edge", "wafer_tf"):
                    found.append(f"{name} is the station's and imports {target}, which is not")
                if target not in known and target not in STATION_MAY:
                    found.append(f"{name} is the station's and imports {target}")
    return [*sorted(found), *circles(modules)]


def _of_station(name: str) -> bool:
    return any(name == part or name.startswith(f"{part}.") for part in STATION) and name != "wafer_tf.decision.fitting"


def circles(modules: dict[str, Path]) -> list[str]:
    """Return a line for each module that reaches itself through what modules import when they are imported."""
    edges = {
        name: set(imports(path, set(modules), at_import_only=True)) & set(modules) for name, path in modules.items()
    }
    found = []
    for start in sorted(edges):
        seen: set[str] = set()
        todo = list(edges[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += edges[name]
        if start in seen:
            found.append(f"{start} imports itself through others")
    return found


def test_imports_point_down_the_station_carries_little_and_there_is_no_circle() -> None:
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("module", "line", "fault"),
    [
        ("wafer_tf/scoring/planted.py", "from training.config import FitConfig", "which stands above it"),
        ("wafer_tf/scoring/planted.py", "def f():\n    import edge.pack", "which stands above it"),
        ("wafer_tf/formats/planted.py", "import scipy", "is the station's and imports scipy"),
        ("edge/station/planted.py", "from wafer_tf.readers import read", "which is not"),
        ("wafer_tf/dies.py", "from wafer_tf.dies import Die", "imports itself"),
    ],
)
def test_a_planted_import_is_found(module: str, line: str, fault: str, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=lambda _, names: {"__pycache__"} & set(names))
    planted = tmp_path / module
    before = planted.read_text(encoding="utf-8") if planted.exists() else ""
    planted.write_text(f"{before}\n{line}\n", encoding="utf-8")
    assert any(fault in text for text in faults(tmp_path))


@pytest.mark.parametrize("name", sorted(sources(ROOT)))
def test_a_module_imports_what_is_slow_only_where_it_cannot_do_without(name: str) -> None:
    heavy = set(imports(sources(ROOT)[name], set(), at_import_only=True)) & NOT_AT_IMPORT
    allowed = [names for room, names in NEEDED_AT_IMPORT.items() if name == room or name.startswith(f"{room}.")]
    assert heavy <= set().union(*allowed)
