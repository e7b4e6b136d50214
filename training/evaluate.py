"""Score a finished run: `python -m training.evaluate RUN [--data OTHER]`.

Without --data the run's own test part is scored again from model.keras. With it, every labelled map of OTHER is.
The report goes into a new folder under RUN/evaluations; the run's own report is left alone.
"""

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path

from wafer_tf.command import CommandParser
from wafer_tf.command import run as run_command
from wafer_tf.errors import InputError, UsageError
from wafer_tf.formats import flags as reading
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.released import results, run_folder

EXAMPLE = """example:
  python -m training.evaluate runs/20261122-101500-resnet16 --data other_maps.parquet

exit codes: 0 done, 2 usage, 3 bad model or run folder, 4 bad input"""


def parser() -> argparse.ArgumentParser:
    """Return the command's arguments."""
    p = CommandParser("python -m training.evaluate", __doc__, epilog=EXAMPLE)
    p.add_argument(
        "run", type=run_folder, metavar="RUN", help="a finished run folder, or a released model: wafer, nano"
    )
    p.add_argument("--data", type=Path, metavar="OTHER", help="other labelled maps, in any format training.fit reads")
    p.add_argument("--out", type=Path, metavar="DIR", help="where the report goes (default: RUN/evaluations/NAME)")
    p.add_argument(
        "--csv", type=Path, metavar="FILE", help="also write a row per wafer: true label, call, probabilities"
    )
    p.add_argument(
        "--overwrite", action="store_true", help="replace the report of an earlier evaluation in DIR, and FILE"
    )
    reading.add_arguments(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parser().parse_args(argv)
    return run_command(
        lambda: evaluate(
            args.run,
            data=args.data,
            options=reading.options(args),
            out=args.out,
            csv=args.csv,
            overwrite=args.overwrite,
        )
    )


def evaluate(
    path: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None,
    out: str | os.PathLike[str] | None,
    csv: str | os.PathLike[str] | None = None,
    overwrite: bool,
    options: Options = DEFAULT,
) -> None:
    """Score a run on its own test part or on other maps; print the per-class table and write the report.

    Args:
        path: the run folder.
        data: other labelled maps (default: the run's test part).
        out: folder for the report (default: RUN/evaluations/NAME).
        csv: file for a row per wafer; None writes none.
        overwrite: replace an earlier report in `out`, and `csv`.
        options: what the files of `data` do not say.
    """
    path = Path(path)
    data = None if data is None else Path(data)
    out = None if out is None else Path(out)
    from wafer_tf.learning.quiet import quiet_tensorflow

    quiet_tensorflow()

    from training.job import data_facts, load_config, load_data
    from training.out_of_fold import decide_out_of_fold
    from training.runtime import prepare, versions
    from wafer_tf.learning.prediction import predict_logits
    from wafer_tf.learning.run_folder import RunFolder
    from wafer_tf.readers import read
    from wafer_tf.reporting.facts import facts_of
    from wafer_tf.reporting.report import format_table, write_report
    from wafer_tf.scoring.scores import score
    from wafer_tf.splitting.groups import number_lots
    from wafer_tf.splitting.overlap import count_known
    from wafer_tf.splitting.splits import Split
    from wafer_tf.tables import csv_file, judged_table, write_csv

    run = RunFolder.open(path)
    target = out or results(path, "evaluations") / (data.stem if data else "test")
    if (target / "report.json").exists() and not overwrite:
        raise UsageError(
            f"{target}: holds the report of an earlier evaluation; add --overwrite or choose another --out."
        )
    if target.exists() and not target.is_dir():
        raise UsageError(f"{target}: is a file; expected a folder for the report (--out).")
    table = csv_file(csv, overwrite=overwrite)
    config, decision = load_config(run), run.decision()
    if data is None and config.data is not None and not Path(config.data).exists():
        raise InputError(
            f"{config.data}: no such file or folder, seen from {Path.cwd()}; it is what the run was trained on. "
            "Run the command where it is found, or score other maps with --data OTHER."
        )
    prepare(seed=config.seed, precision="float32", require_gpu=False)
    own, model, prob = facts_of(run), run.model(), None
    if data is None:
        wafers = load_data(config)
        split = Split.load(path / "split.npz", wafers)
        facts = replace(
            data_facts(config.data, wafers), split_method=split.method, near_copies_leaked=split.stats["leaked"]["lot"]
        )
        group, wafers = split.group[split.test], wafers.select(split.test)
        if split.folds:
            print(f"the out-of-fold answers of {path}", file=sys.stderr)
            prob = decide_out_of_fold(run.read_array("logits.npz", "test"), wafers.label, split)
            facts = replace(facts, part="out-of-fold")
    else:
        wafers = read(data, options=options, progress=True)
        wafers = wafers.select(wafers.labelled)
        if not len(wafers):
            raise InputError(f"{data}: no labelled wafer; expected labels to score against.")
        group = number_lots(wafers.lot)
        facts = replace(data_facts(str(data), wafers), part="every labelled map")
        copies = count_known(wafers, run.read_array("seen.npz", "fingerprints"))
        if copies:
            warning = f"{copies} of the {len(wafers)} maps scored are copies (also turned or mirrored) of maps the run "
            warning += "trained on or chose by: the scores flatter the model."
            facts = replace(facts, warnings=(warning,))
            print(f"warning: {warning}", file=sys.stderr)
    if prob is None:
        print(f"scoring {len(wafers)} maps with the model of {path}", file=sys.stderr)
        prob = decision.probabilities(predict_logits(model, wafers, progress=True))
    scores = score(wafers.label, prob, group=group)
    target.mkdir(parents=True, exist_ok=True)
    facts = replace(facts, model=own.model, input=own.input, parameters=own.parameters, versions=versions())
    write_report(target, facts=facts, scores=scores, controls=None, wafers=wafers, label=wafers.label, prob=prob)
    print(format_table(scores))
    print(f"\nreport: {target}")
    if table is not None:
        print(f"table: {write_csv(table, judged_table(wafers, prob))}")


if __name__ == "__main__":
    sys.exit(main())
