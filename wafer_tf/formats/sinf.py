"""SINF, the plain text map: KEY:VALUE lines, then RowData lines. Needs numpy and the standard library."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wafer_tf.dies import MAX_CELLS, MAX_SIDE
from wafer_tf.errors import InputError
from wafer_tf.formats.bin_codes import Notes, grid_of_rows, judge, notch_at, upright, whole_number
from wafer_tf.formats.dies_on_grid import check_sides
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.text_lines import numbered_lines
from wafer_tf.formats.wafer_map import MapFile, WaferMap

NO_DIE = frozenset({"__", "___", "@@", "@@@"})
"""No die; "@@" is a skipped or reference die, which is read as none."""
WIDTHS = (2, 3)
MAX_LINE = 8 * MAX_SIDE
_LIMIT = 5 * MAX_CELLS


def read(file: Opened, options: Options) -> MapFile:
    """Read a SINF file, which holds one wafer.

    Raises:
        InputError: no rows, or not those that ROWCT and COLCT announce.
    """
    said: dict[str, str] = {}
    rows: list[_Row] = []
    between = 0
    for number, line in numbered_lines(file, _LIMIT):
        key, colon, value = line.partition(":")
        key = key.strip().casefold()
        if len(line) > MAX_LINE:
            raise InputError(f"{file.name}: line {number}: {len(line)} characters; expected a row of {MAX_SIDE} dies.")
        if key == "rowdata":
            if between:
                raise InputError(f"{file.name}: line {between}: no RowData, between rows; the file is damaged.")
            rows.append(_row(number, value.split(), rows[0].width if rows else 0, file.name))
            if len(rows) > MAX_SIDE:
                raise InputError(f"{file.name}: line {number}: over {MAX_SIDE} rows; expected a map of one wafer.")
        elif rows:
            between = between or (number if line.strip() else 0)
        elif colon:
            said.setdefault(key, value.strip())
    return MapFile(format="SINF", wafers=iter([_wafer(file.name, said, rows, options)]))


class _Row(NamedTuple):
    """A RowData line; its cells as one text, since a list of them takes twenty times as much."""

    line: int
    text: str
    dies: int
    width: int


def _row(line: int, cells: list[str], width: int, name: str) -> _Row:
    width = width or (len(cells[0]) if cells else 0)
    odd = next((cell for cell in cells if len(cell) != width or width not in WIDTHS), None)
    if odd is not None:
        raise InputError(f"{name}: line {line}: {odd[:20]!r}; expected dies of 2 or 3 characters, and blanks.")
    return _Row(line, "".join(cells), len(cells), width)


def _wafer(file_name: str, said: Mapping[str, str], rows: Sequence[_Row], options: Options) -> WaferMap:
    notes = Notes()
    wafer = said.get("wafer", "")
    name = f"{file_name}, wafer {wafer[:40]}" if wafer else file_name
    if not rows or not rows[0].dies:
        raise InputError(f"{name}: no RowData line with dies; the file is cut off, or no SINF map.")
    row_count, col_count = (
        whole_number(said[key], key.upper(), name) if said.get(key) else found
        for key, found in (("rowct", len(rows)), ("colct", rows[0].dies))
    )
    check_sides((row_count, col_count), name)
    for row in rows:
        if row.dies != col_count:
            raise InputError(
                f"{name}: line {row.line} has {row.dies} dies; expected {col_count}"
                f"{', as COLCT says' if said.get('colct') else ', as the first row has'}."
            )
    if len(rows) != row_count:
        raise InputError(
            f"{name}: {len(rows)} RowData lines, the last on line {rows[-1].line}; expected {row_count}, as ROWCT "
            "says. The file is cut off, or damaged."
        )
    width = rows[0].width
    codes = grid_of_rows([row.text for row in rows], col_count, width, name)
    good = said.get("bcequ", "").replace(",", " ").split()
    if not good and options.pass_bins is None:
        notes.assumed.append("bin 1 passes and all others fail, BCEQU being empty (--pass-bins)")
    judged = judge(codes, [], NO_DIE, options, notes, name, kind="hexadecimal", width=width, good=good or ["1"])
    notch = notch_at(said.get("fnloc", ""), options, notes, name, key="FNLOC", from_up=True)
    grid, corner = upright(judged.grid, notch, name)
    return WaferMap(
        grid=grid,
        lot=said.get("lot", ""),
        wafer=wafer,
        product=said.get("device", ""),
        corner=corner,
        bins=judged.bins,
        facts=_die_size(said),
        assumed=tuple(notes.assumed),
        warnings=tuple(notes.warnings),
    )


def _die_size(said: Mapping[str, str]) -> dict[str, str]:
    """Return the die size in words; half of real files leave it blank, or 0.0."""
    sizes = [said.get("xdies", ""), said.get("ydies", "")]
    if not all(size.strip("0. ") for size in sizes):
        return {}
    return {"die size": f"{sizes[0]} x {sizes[1]} {said.get('dutms', '')}".strip()}
