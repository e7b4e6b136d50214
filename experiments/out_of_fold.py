"""What the released models are worth out of fold: from the runs of a release to experiments/out_of_fold.json.

    python -m experiments.out_of_fold runs/release/wafer runs/release/nano --first wm811k_full_dev.npz

The runs' maps are WM-811K's own mix. `--first` names the file whose wafers come first among them, nearly as many
defects as none: figures on these alone compare with scores published on such a mix. Runs not named keep their rows.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from wafer_tf.as_json import to_json
from wafer_tf.command import CommandParser
from wafer_tf.waferset import WaferSet


def row(path: Path, wafers: WaferSet, first: int) -> dict[str, Any]:
    """Return the figures of one run, float out of fold and, where its bundle was gated, int8 out of fold."""
    from experiments import commit
    from training.out_of_fold import decide_out_of_fold
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.scoring.scores import score
    from wafer_tf.splitting.splits import Split

    run = RunFolder.open(path)
    split = Split.load(path / "split.npz", wafers)
    prob = decide_out_of_fold(run.read_array("logits.npz", "test").astype(np.float32), wafers.label, split)
    gate = json.loads((path / "bundle.gate.json").read_text())
    facts = run.read_json("report.json")["facts"]
    model = run.model()
    found: dict[str, Any] = {"run": path.name, "command": facts["command"], "commit": commit()}
    for name, kept in {"natural_mix": np.arange(len(wafers)), "first": np.arange(first)}.items():
        scores = score(wafers.label[kept], prob[kept], group=split.group[kept])
        found[name] = {
            "wafers": scores.wafers,
            "groups": scores.groups,
            "macro_f1": to_json(scores.macro_f1),
            "false_alarms": to_json(scores.false_alarm_rate),
            "escapes": to_json(scores.escape_rate),
            "recall": {c.name: to_json(c.recall) for c in scores.classes},
            "precision": {c.name: to_json(c.precision) for c in scores.classes},
            "log_loss": to_json(scores.log_loss),
            "calibration_error": to_json(scores.ece),
        }
    int8 = gate["models"][-1]
    return found | {
        "int8": {
            "macro_f1": int8["macro_f1"],
            "recall": int8["recall"],
            "agreement": 100 * gate["comparison"]["agreement"]["value"],
            "macro_f1_drop": 100 * gate["comparison"]["macro_f1_drop"]["value"],
            "shipped_agreement": 100 * gate["shipped_agreement"],
            "kilobytes": int8["bytes"] / 1000,
            "ms": int8["latency"]["median_ms"],
        },
        "float_ms": gate["models"][0]["latency"]["median_ms"],
        "parameters": model.count_params(),
        "million_multiplications": multiplications(run.taught_model()) / 1e6,
        "training_minutes": minutes(path),
    }


def multiplications(model: Any) -> int:
    """Return the multiplications of a map in convolutions and dense layers."""
    return sum(
        int(np.prod(layer.output.shape[1:-1])) * int(np.prod(layer.kernel.shape))
        for layer in model.layers
        if getattr(layer, "kernel", None) is not None
    )


def minutes(path: Path) -> float:
    """Return the minutes of all trainings of a run, those of its folds too."""
    states = [path, *(path / "folds").iterdir()]
    rows = [json.loads((state / "checkpoints" / "state.json").read_text())["history"] for state in states]
    return round(sum(epoch["seconds"] for history in rows for epoch in history) / 60, 1)


def main() -> None:
    p = CommandParser("python -m experiments.out_of_fold", __doc__)
    p.add_argument("runs", nargs="+", type=Path)
    p.add_argument("--first", type=Path, required=True)
    p.add_argument("--results", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    from training.job import load_config, load_data
    from wafer_tf.learning.quiet import quiet_tensorflow
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.readers import read

    quiet_tensorflow()
    wafers = load_data(load_config(RunFolder.open(args.runs[0])))
    first = len(read(args.first).labelled)
    rows = {each["run"]: each for each in (json.loads(args.results.read_text()) if args.results.exists() else [])}
    rows |= {path.name: row(path, wafers, first) for path in args.runs}
    args.results.write_text(json.dumps([*rows.values()], indent=1) + "\n")


if __name__ == "__main__":
    main()
