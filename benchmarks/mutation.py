"""Change the code in thousands of small ways, and count the changes that no test notices.

    pip install mutmut==3.8.1
    python -m benchmarks.mutation run [--sample N] [--survivors] 'edge.gate.*' ...
    python -m benchmarks.mutation constants 'edge.gate.*' ...
    python -m benchmarks.mutation report [--sample N] [--list] [--out benchmarks/mutation.json --label after]
    mutmut show NAME

By hand, not in CI. `run` makes the mutants of the four areas of [tool.mutmut] and lets mutmut try those asked for, or
N of each module drawn by the seed; what was tried is not tried again. Mutants of words are left out (see `prose`).
`report` counts by module. mutmut changes what stands in functions; `constants` makes the numbers at the head of modules
and classes half as large again, one after another, and runs the area's tests on each.
"""

import argparse
import ast
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from datetime import date
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any

import tomllib

from wafer_tf.command import CommandParser
from wafer_tf.errors import UsageError
from wafer_tf.whole_files import write_whole

MUTANTS = Path("mutants")
FIRST = "wafer_tf.decision.x_verdict__mutmut_1"
STATUS = {
    0: "survived",
    1: "killed",
    3: "killed",
    33: "no_tests",
    5: "no_tests",
    36: "timeouts",
    24: "timeouts",
    -24: "timeouts",
    152: "timeouts",
    -9: "timeouts",
    255: "timeouts",
    -11: "killed",
}
"""What mutmut's exit codes mean. A mutant that hangs or crashes is noticed, as one that fails a test is."""
SAYING = {"say", "_say", "print", "ArgumentTypeError"}
"""Calls that tell people what they are given."""
TEXTS = {"help", "metavar", "description", "epilog", "desc", "unit"}
"""Arguments that are for people."""


def mutants() -> dict[str, int | None]:
    """Return every mutant by name, with the exit code of its tests, None where it was not tried."""
    found: dict[str, int | None] = {}
    for meta in sorted(MUTANTS.rglob("*.meta")):
        found |= json.loads(meta.read_text())["exit_code_by_key"]
    return found


def module_of(name: str) -> str:
    """Return the module of a mutant's name."""
    return name.rpartition(".")[0]


def source_of(module: str) -> Path:
    """Return the file of a module's mutants."""
    path = MUTANTS / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def functions(module: str) -> dict[str, ast.FunctionDef]:
    """Return the original and the mutated functions of a module by their names."""
    tree = ast.parse(source_of(module).read_text())
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and "mutmut" in node.name}


def prose(original: ast.AST, mutated: ast.AST) -> bool:
    """Whether a mutant changes nothing but words for people.

    That is: what is raised, a string of several words, what calls of SAYING are given, and arguments named in TEXTS.
    """
    change = _change(original, mutated, ())
    if change is None:
        return False
    where, old, new = change
    if any(isinstance(node, ast.Raise) or (isinstance(node, ast.keyword) and node.arg in TEXTS) for node in where):
        return True
    if isinstance(old, ast.Constant) and isinstance(old.value, str) and " " in old.value.strip():
        return True
    if isinstance(old, ast.keyword):  # its value became None
        return old.arg in TEXTS
    if isinstance(old, ast.Call) and isinstance(new, ast.Call) and len(_given(new)) < len(_given(old)):
        lost = [part for part in _given(old) if _text(part) not in map(_text, _given(new))]
        return all(
            part.arg in TEXTS
            if isinstance(part, ast.keyword)
            else _called(old) in SAYING and isinstance(part, ast.JoinedStr)
            for part in lost
        )
    return any(_called(node) in SAYING for node in where) and isinstance(old, ast.JoinedStr | ast.Constant)


def _called(node: ast.AST) -> str:
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _given(call: ast.Call) -> list[ast.expr | ast.keyword]:
    return [*call.args, *call.keywords]


def _change(old: Any, new: Any, where: tuple[ast.AST, ...]) -> tuple[tuple[ast.AST, ...], Any, Any] | None:
    """Return the smallest part that differs, below which nodes; None where nothing does."""
    if type(old) is not type(new) or not isinstance(old, ast.AST):
        return None if not isinstance(old, ast.AST) and old == new else (where, old, new)
    differing = []
    for name in old._fields:
        if name in ("name", "ctx", "type_comment"):
            continue
        a, b = getattr(old, name, None), getattr(new, name, None)
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            differing += [(x, y) for x, y in zip(a, b, strict=True) if _text(x) != _text(y)]
        elif _text(a) != _text(b):
            differing.append((a, b))
    if not differing:
        return None
    if len(differing) > 1 or not isinstance(differing[0][0], ast.AST) or not isinstance(differing[0][1], ast.AST):
        return where, old, new
    below = _change(*differing[0], (*where, old))
    return below if below else (where, old, new)


def _text(part: Any) -> str:
    if isinstance(part, list):
        return "".join(map(_text, part))
    return ast.dump(part) if isinstance(part, ast.AST) else repr(part)


def counted(names: list[str]) -> list[str]:
    """Return the names of the mutants that change more than words."""
    kept = []
    for module in dict.fromkeys(map(module_of, names)):
        defined = functions(module)
        for name in (name for name in names if module_of(name) == module):
            own = name.rpartition(".")[2]
            if not prose(defined[f"{own.rpartition('__mutmut_')[0]}__mutmut_orig"], defined[own]):
                kept.append(name)
    return kept


def numbers(source: str) -> dict[str, str]:
    """Return the source with one number of a module or class made half as large again, by the number's name."""
    lines = source.splitlines(keepends=True)
    tree = ast.parse(source)
    found = {}
    for body in (tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))):
        for node in body:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                continue
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            several = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            targets, values = (target.elts, node.value.elts) if several else ([target], [node.value])  # type: ignore[attr-defined]
            for name, value in zip(targets, values, strict=True):
                number = _number(value)
                if number is None or value.lineno != value.end_lineno:
                    continue
                larger = number * 1.5 if isinstance(number, float) else number + max(1, number // 2)
                line = lines[value.lineno - 1].encode()
                line = line[: value.col_offset] + repr(larger).encode() + line[value.end_col_offset :]
                changed = [*lines[: value.lineno - 1], line.decode(), *lines[value.lineno :]]
                found[f"{ast.unparse(name)} {number!r} -> {larger!r}"] = "".join(changed)
    return found


def _number(node: ast.expr) -> int | float | None:
    """Return what an expression of numbers alone is worth; None of any other."""
    allowed = (ast.Constant, ast.BinOp, ast.operator)
    if not all(isinstance(part, allowed) for part in ast.walk(node)):
        return None
    value = eval(compile(ast.Expression(node), "", "eval"), {})
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def constants(args: argparse.Namespace) -> int:
    """Change one number after another in a copy of the clone, and say which no test notices."""
    config = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutmut"]
    held: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "clone"
        copy.mkdir()
        for name in (*config["source_paths"], *config["also_copy"], "tests", "pyproject.toml"):
            (shutil.copytree if Path(name).is_dir() else shutil.copy)(name, copy / name)
        environment = os.environ | {"PYTEST_DEBUG_TEMPROOT": temporary, "PYTHONPATH": str(copy)}
        environment["MUTANT_UNDER_TEST"] = ""  # for mutation_fixtures
        for pattern in config["only_mutate"]:
            paths = [
                path
                for path in sorted(Path().glob(f"{pattern.removesuffix('*')}**/*.py"))
                if str(path) not in config["do_not_mutate"]
                and any(fnmatch(f"{_dotted(path)}.", asked) for asked in args.patterns)
            ]
            tests = [
                name
                for name in config["pytest_add_cli_args_test_selection"]
                if name.removeprefix("tests/").replace("test_", "").startswith(pattern.removesuffix("/*"))
            ]
            command = [sys.executable, "-m", "pytest", *config["pytest_add_cli_args"], *tests]
            call = partial(subprocess.run, command, cwd=copy, env=environment, capture_output=True, check=False)
            if paths and call().returncode:
                raise UsageError(f"{' '.join(tests)}: they fail on the code as it is; mend that first.")
            for path in paths:
                for what, changed in numbers(path.read_text()).items():
                    (copy / path).write_text(changed)
                    found = "killed" if call().returncode else "survived"
                    held[f"{_dotted(path)}: {what}"] = found
                    print(f"{found:<10} {_dotted(path)}: {what}", flush=True)
                shutil.copy(path, copy / path)
    if not held:
        raise UsageError(f"{' '.join(args.patterns)}: no number of a module; expected a glob such as 'edge.gate.*'.")
    if args.out:
        _record(args.out, f"constants {args.label}", held)
    return 0


def _dotted(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def sampled(names: list[str], size: int | None, *, seed: int) -> list[str]:
    """Return so many mutants of each module, drawn by the seed, or all; a larger sample holds the smaller one."""
    drawn: list[str] = []
    for module in dict.fromkeys(map(module_of, names)):
        of_module = [name for name in names if module_of(name) == module]
        random.Random(seed).shuffle(of_module)
        drawn += of_module[:size]
    return drawn


def run(args: argparse.Namespace) -> int:
    """Make the mutants where there are none, and try those asked for."""
    if not MUTANTS.is_dir() or args.fresh:
        shutil.rmtree(MUTANTS, ignore_errors=True)
        _mutmut(FIRST)
    known = mutants()
    names = counted([name for name in known if any(fnmatch(name, pattern) for pattern in args.patterns)])
    drawn = sampled(names, args.sample, seed=args.seed)
    wanted = (0, 33, 5) if args.survivors else (None,)
    drawn = [name for name in drawn if known[name] in wanted]
    print(f"{len(known)} mutants, {len(names)} asked for that change more than words, {len(drawn)} to try")
    return _mutmut(*drawn) if drawn else 0


def _mutmut(*names: str) -> int:
    command = [str(Path(sys.executable).with_name("mutmut")), "run", "--max-children", "1", *names]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        environment = os.environ | {"PYTEST_DEBUG_TEMPROOT": temporary}  # each mutant leaves folders
        return subprocess.run(command, env=environment, check=False).returncode


def report(args: argparse.Namespace) -> int:
    """Print the counts by module and the survivors; with --out, put the counts into a file under the label."""
    known = mutants()
    table: dict[str, Counter[str]] = {}
    survivors = []
    names = counted(list(known))
    for name in names:
        table.setdefault(module_of(name), Counter())["mutants"] += 1
    for name in sampled(names, args.sample, seed=args.seed):
        code, row = known[name], table[module_of(name)]
        if code is not None:
            row["tried"] += 1
            row[STATUS.get(code, "killed")] += 1
            survivors += [name] * (STATUS.get(code) in ("survived", "no_tests"))
    rows = {module: _row(row) for module, row in sorted(table.items())}
    rows["all"] = _row(sum(table.values(), Counter()))
    for module, counts in rows.items():
        print(f"{module:<45} {json.dumps(counts)}")
    if args.list:
        print("\n".join(survivors))
    if args.out:
        _record(args.out, args.label, rows)
    return 0


def _record(path: Path, label: str, found: dict[str, Any]) -> None:
    """Put what was found into a JSON file under a label, beside what is there."""
    held = json.loads(path.read_text()) if path.exists() else {}
    held[label] = {"date": date.today().isoformat(), "found": found}
    write_whole(path, json.dumps(held, indent=1) + "\n")


def _row(counts: Counter[str]) -> dict[str, Any]:
    noticed = counts["killed"] + counts["timeouts"]
    names = ("mutants", "tried", "killed", "timeouts", "survived", "no_tests")
    share = round(100 * noticed / counts["tried"], 1) if counts["tried"] else None
    return {name: counts[name] for name in names} | {"noticed_percent": share}


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    p = CommandParser("python -m benchmarks.mutation", __doc__)
    jobs = p.add_subparsers(dest="job", required=True, metavar="JOB")
    job = jobs.add_parser("run")
    job.add_argument("patterns", nargs="+", metavar="GLOB", help="of mutants, such as 'edge.gate.*'")
    _add_sample(job)
    job.add_argument("--survivors", action="store_true", help="only those that no test noticed, again")
    job.add_argument("--fresh", action="store_true", help="make the mutants anew")
    job = jobs.add_parser("constants")
    job.add_argument("patterns", nargs="+", metavar="GLOB", help="of modules, such as 'edge.gate.*'")
    _add_record(job)
    job = jobs.add_parser("report")
    job.add_argument("--list", action="store_true", help="name the survivors")
    _add_sample(job)
    _add_record(job)
    args = p.parse_args(argv)
    return {"run": run, "constants": constants, "report": report}[args.job](args)


def _add_sample(job: argparse.ArgumentParser) -> None:
    job.add_argument("--sample", type=int, metavar="N", help="at most so many of each module")
    job.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")


def _add_record(job: argparse.ArgumentParser) -> None:
    job.add_argument("--out", type=Path, metavar="FILE", help="put what was found into this JSON")
    job.add_argument("--label", default="after", help="under this name there (default: after)")


if __name__ == "__main__":
    sys.exit(main())
