"""Write the tables of the documents that rest on a release anew, from its records: `python -m experiments.tables`.

Run it after experiments.out_of_fold, unknown, stated_error and robustness. The sentences around the tables, and the
figures in them, stay as they are: read them.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wafer_tf.dies import CLASSES

MODELS = ("wafer", "nano")
Row = Iterable[Any]


def _read(name: str) -> Any:
    return json.loads(Path(name).read_text())


def _span(found: dict[str, float], digits: int = 3) -> str:
    return f"{found['value']:.{digits}f} [{found['low']:.{digits}f}, {found['high']:.{digits}f}]"


def out_of_fold() -> dict[tuple[str, str], list[Row]]:
    """Return the rows of the README, scores, choices and int8, by document and how the header of the table begins."""
    runs = {row["run"]: row for row in _read("experiments/out_of_fold.json")}
    what = {"wafer": "`wafer`, a ResNet of 16 layers", "nano": "`nano`, one of 14, half as wide"}
    first, classes, mixes, costs, losses = list[Row](), list[Row](), list[Row](), list[Row](), list[Row]()
    for name in MODELS:
        own, int8 = runs[name]["natural_mix"], runs[name]["int8"]
        first.append(
            (
                what[name],
                _span(own["macro_f1"]),
                f"{int8['macro_f1']['value']:.3f}",
                *(f"{100 * own[key]['value']:.1f} %" for key in ("false_alarms", "escapes")),
                f"{runs[name]['million_multiplications']:.1f} million",
                f"{int8['kilobytes']:.0f} kB",
            )
        )
        lost, same = f"{int8['macro_f1_drop']:.2f}", f"{int8['agreement']:.2f}"
        costs.append(
            (
                f"`{name}`",
                f"{runs[name]['parameters']:,}",
                f"{runs[name]['million_multiplications']:.1f}",
                f"{own['macro_f1']['value']:.3f}",
                f"{int8['macro_f1']['value']:.3f}",
                lost,
                same,
                f"{int8['shipped_agreement']:.2f}",
                f"{int8['ms']:.3f}",
                f"{runs[name]['float_ms']:.3f}",
                f"{runs[name]['training_minutes']:.0f}",
            )
        )
        losses.append((f"`{name}`", same, lost))
        for mix, text in (("natural_mix", "its own mix"), ("first", "62 % none")):
            one = runs[name][mix]
            score = f"{one['macro_f1']['value']:.3f}" if mix == "natural_mix" else _span(one["macro_f1"])
            rates = (f"{100 * one[key]['value']:.1f} %" for key in ("false_alarms", "escapes"))
            mixes.append((f"`{name}`, {text}", f"{one['wafers']:,}", score, *rates, f"{one['log_loss']['value']:.3f}"))
    for label in CLASSES:
        cells = [
            f"{found[label]['value']:.3f}"
            for name in MODELS
            for found in (
                runs[name]["natural_mix"]["recall"],
                runs[name]["natural_mix"]["precision"],
                runs[name]["int8"]["recall"],
            )
        ]
        classes.append((label, *cells))
    return {
        ("README.md", "| released model |"): first,
        ("docs/explanation/scores.md", "| | `wafer`: recall | precision |"): classes,
        ("docs/explanation/scores.md", "| | wafers | macro-F1 | false alarms |"): mixes,
        ("docs/explanation/choices.md", "| | parameters | million"): costs,
        ("docs/explanation/int8.md", "| | same call as float, %"): losses,
    }


def unknown() -> dict[tuple[str, str], list[Row]]:
    """Return the rows of unknown.md."""
    path, shipped = "docs/explanation/unknown.md", _read("experiments/unknown.json")["models"]
    own = {name: _read(f"models/{name}/unknown.json") for name in MODELS}

    def per_cent(share: float) -> str:
        return f"{100 * share:.1f}"

    families = [
        (
            family.replace("_", " "),
            *(
                cell
                for name in MODELS
                for cell in (
                    f"{own[name]['families'][family]['auroc']:.3f}",
                    per_cent(own[name]["families"][family]["flagged_at_0.01"]["share"]),
                    per_cent(shipped[name]["others"][family]["flagged"]),
                )
            ),
        )
        for family in shipped["wafer"]["others"]
    ]
    means = [
        (
            f"{own[name]['mean_auroc']:.3f}",
            per_cent(own[name]["mean_flagged_at_0.01"]),
            per_cent(shipped[name]["mean_flagged_of_others"]),
        )
        for name in MODELS
    ]
    patterns = [
        (n, *(per_cent(shipped[name]["other_fab"][f"MixedWM38, {n} patterns"]["flagged"]) for name in MODELS))
        for n in range(5)
    ]
    known = [
        (
            label,
            *(
                cell
                for name in MODELS
                for cell in (
                    per_cent(own[name]["classes"][label]["flagged_at_0.01"]["share"]),
                    per_cent(shipped[name]["known"][f"drawn {label}"]["flagged"]),
                )
            ),
        )
        for label in CLASSES
    ]
    return {
        (path, "| family |"): [*families, ("mean", *(cell for cells in means for cell in cells))],
        (path, "| patterns |"): patterns,
        (path, "| class | `wafer`: % flagged |"): known,
    }


def stated_error() -> dict[tuple[str, str], list[Row]]:
    """Return the rows of stated-error.md that are of the models out of fold."""
    path, found = "docs/explanation/stated-error.md", _read("experiments/stated_error.json")["out_of_fold"]
    points = ("balanced", "few-escapes", "few-false-alarms", "proven-1-percent")
    costs = [
        (
            f"`{point}`",
            *(
                f"{100 * found[name]['points'][point][key]:.{digits}f} %"
                for name in MODELS
                for key, digits in (("escape_rate", 1), ("false_alarm_rate", 2), ("review_rate", 1))
            ),
        )
        for point in points
    ]
    proofs = [
        (
            f"at most {limit} % wrong",
            *(
                cell
                for name in MODELS
                for proof in [found[name]["proofs"][f"proven-{limit}-percent"]]
                for cell in (
                    f"{100 * proof['coverage']:.1f} %",
                    f"{proof['errors']} of {proof['answered']:,}",
                    f"{100 * proof['bound']:.2f} %",
                )
            ),
        )
        for limit in ("0.5", "1", "2")
    ]
    sets = [
        (
            label,
            *(
                cell
                for name in MODELS
                for one in [found[name]["sets"]["classes"][label]]
                for cell in (
                    f"{one['called']:.3f}",
                    f"{one['covered'][0]:.3f}",
                    f"{one['of_groups']:.3f}",
                    f"{one['size']:.2f}",
                )
            ),
        )
        for label in CLASSES
    ]
    return {
        (path, "| | `wafer`: escapes |"): costs,
        (path, "| | `wafer` answers |"): proofs,
        (path, "| | `wafer`: called |"): sets,
    }


def main() -> None:
    for (path, begins), rows in (out_of_fold() | unknown() | stated_error()).items():
        lines = Path(path).read_text(encoding="utf-8").splitlines()
        (header,) = (number for number, line in enumerate(lines) if line.startswith(begins))
        first = end = header + 2
        while end < len(lines) and lines[end].startswith("|"):
            end += 1
        lines[first:end] = [f"| {' | '.join(map(str, row))} |" for row in rows]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"{path}: {end - first} rows")


if __name__ == "__main__":
    main()
