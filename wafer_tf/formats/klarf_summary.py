"""What a KLARF file sums up itself, against what was read of it. Needs numpy alone."""

import numpy as np
from numpy.typing import NDArray

from wafer_tf.formats.klarf_dies import Dies, distinct, places
from wafer_tf.formats.klarf_text import Table
from wafer_tf.formats.klarf_wafer import DEFECT, Wafer
from wafer_tf.formats.options import Options

NO_DEFECTS = Table(DEFECT, np.zeros((0, len(DEFECT))), np.zeros(0, np.int32))


def no_defects(wafer: Wafer) -> bool:
    """Return whether the file's own summary says that a wafer has no defects."""
    said = wafer.summary.column("NDEFECT") if wafer.summary else None
    return said is not None and len(said) > 0 and not said.any()


def check_summary(wafer: Wafer, defects: Table, dies: Dies | None, options: Options, name: str) -> list[str]:
    """Compare NDEFECT, NDIE and NDEFDIE of each test with what was read.

    A test's defects are those that name it; where there is one test alone, all. A die with a defect counts whether
    the plan has it or not: tools differ in that.

    Args:
        wafer: it.
        defects: its defects.
        dies: those of its plans; None where they had to be found by sizes, and the tool may have left some out.
        options: `lenient`; with `classes` or `min_defect_size` the failing dies are others than the tool's.
        name: what to call it in an error.

    Returns:
        Sentences about what differs.

    Raises:
        InputError: something differs, and the user is not lenient.
    """
    if wafer.summary is None or not len(wafer.summary.lines):
        return []
    tests = wafer.summary.column("TESTNO")
    where, known = places(defects, name)
    alone = len(wafer.summary.lines) == 1
    warnings = []
    for row, line in enumerate(wafer.summary.lines.tolist()):
        test = None if tests is None else float(tests[row])
        own = _of_test(defects, test) & known if not alone else known
        read = {"NDEFECT": _defects(defects, test, alone), "NDIE": _dies(wafer, dies, test, alone)}
        if options.classes is None and not options.min_defect_size:
            hit = distinct(where[own])
            read["NDEFDIE"] = {len(hit), int(dies.find(hit)[1].sum()) if dies else len(hit)}
        for key, values in read.items():
            column = wafer.summary.column(key)
            said = float("nan") if column is None else float(column[row])
            if values and not np.isnan(said) and said not in values:
                of = "" if test is None else f" for test {test:g}"
                warnings.append(
                    options.differs(
                        f"{name}: line {line}: the summary says {key} {said:.15g}{of}; "
                        f"read {' or '.join(str(value) for value in sorted(values))}."
                    )
                )
    return warnings


def other_count(wafer: Wafer, dies: Dies) -> list[str]:
    """Return a sentence where dies that were found by sizes are not as many as the summary says."""
    counts = None if wafer.summary is None else wafer.summary.column("NDIE")
    said = [] if counts is None else counts[~np.isnan(counts)].tolist()
    if not said or max(said) == len(dies.places):
        return []
    return [
        f"the summary says {max(said):.15g} dies were inspected, but {len(dies.places)} lie on the wafer by its sizes, "
        "and no SampleTestPlan says which: passing dies of the map may not have been inspected."
    ]


def _of_test(defects: Table, test: float | None) -> NDArray[np.bool_]:
    named = defects.column("TEST")
    return np.ones(len(defects.lines), bool) if named is None or test is None else named == test


def _defects(defects: Table, test: float | None, alone: bool) -> set[int]:
    if defects.column("TEST") is None and not alone:
        return set()  # whose they are is not said
    own = int(_of_test(defects, test).sum())
    return {own, len(defects.lines)} if alone else {own}


def _dies(wafer: Wafer, dies: Dies | None, test: float | None, alone: bool) -> set[int]:
    if dies is None:
        return set()
    own = {len(plan.dies.lines) for plan in wafer.plans if test is not None and plan.test == f"{test:g}"}
    return own | {len(dies.places)} if alone else own
