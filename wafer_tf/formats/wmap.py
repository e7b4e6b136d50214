"""WMAP 3.2, a prober's text map: KEY value lines, then MAPnnn lines of two characters a die. Needs numpy.

The keys that name lot, wafer and product were not seen in a real file; several likely ones are tried.
"""

import re
from collections.abc import Mapping, Sequence

from wafer_tf.dies import MAX_CELLS, MAX_SIDE, Die
from wafer_tf.errors import InputError
from wafer_tf.formats.bin_codes import Notes, grid_of_rows, judge, notch_at, upright, whole_number
from wafer_tf.formats.dies_on_grid import check_sides
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import Options
from wafer_tf.formats.text_lines import first_of, numbered_lines
from wafer_tf.formats.wafer_map import MapFile, WaferMap

WIDTH = 2
_ROW = re.compile(r"\s*MAP(\d{1,6})(?:[ \t:=](.*))?", re.DOTALL)
_LIMIT = 4 * MAX_CELLS
LOT = ("LOT", "LOTID", "LOTNUM", "LOTNAM", "LOTNO")
WAFER = ("WAFER", "WAFERID", "WAFID", "WAFNUM", "WAFNO")
PRODUCT = ("DEVICE", "DEVNAM", "DEVNAME", "PRODUCT", "PRODID")


def read(file: Opened, options: Options) -> MapFile:
    """Read a WMAP file, which holds one wafer.

    Raises:
        InputError: no rows, or not those that ROWCNT and COLCNT announce.
    """
    said: dict[str, str] = {}
    rows: list[tuple[int, int, str]] = []
    for number, line in numbered_lines(file, _LIMIT):
        if len(line) > 8 * MAX_SIDE:
            raise InputError(f"{file.name}: line {number}: {len(line)} characters; expected a row of {MAX_SIDE} dies.")
        row = _ROW.fullmatch(line)
        if row:
            rows.append((number, int(row[1]), row[2] or ""))
            if len(rows) > MAX_SIDE + 1:
                raise InputError(f"{file.name}: line {number}: over {MAX_SIDE} rows; expected a map of one wafer.")
        else:
            key, *value = line.split(None, 1)[:2] or ("",)
            said.setdefault(key.upper().rstrip(":="), value[0].strip() if value else "")
    return MapFile(format="WMAP", version=said.get("WMAP", ""), wafers=iter([_wafer(file.name, said, rows, options)]))


def _wafer(file_name: str, said: Mapping[str, str], rows: Sequence[tuple[int, int, str]], options: Options) -> WaferMap:
    notes = Notes()
    wafer = first_of(said, WAFER)
    name = f"{file_name}, wafer {wafer[:40]}" if wafer else file_name
    for place, (line, number, _) in enumerate(rows):
        if number != rows[0][1] + place:
            raise InputError(
                f"{name}: line {line}: MAP{number:03d}; expected MAP{rows[0][1] + place:03d}, the rows in turn. One is "
                "missing, or twice there."
            )
    if not rows:
        raise InputError(f"{name}: no MAP001 line; the file is cut off, or no WMAP.")
    row_count = whole_number(said["ROWCNT"], "ROWCNT", name) if said.get("ROWCNT") else len(rows)
    cols = whole_number(said["COLCNT"], "COLCNT", name) if said.get("COLCNT") else len(rows[0][2].strip()) // WIDTH
    check_sides((row_count, cols), name)
    if len(rows) != row_count:
        raise InputError(
            f"{name}: {len(rows)} MAP lines, the last on line {rows[-1][0]}; expected {row_count}, as ROWCNT says."
        )
    codes = grid_of_rows([_cells(text, cols) for _, _, text in rows], cols, WIDTH, name)
    skipped = frozenset(re.findall(r"[^\s,;]+", said.get("SKIPDI", ""))) | {"  "}
    good = re.findall(r"[^\s,;]+", said.get("PASBIN", ""))
    if not good and options.pass_bins is None:
        notes.assumed.append("bin 1 passes and all others fail, PASBIN being empty (--pass-bins)")
    judged = judge(codes, [], skipped, options, notes, name, kind="two characters", width=WIDTH, good=good or ["1"])
    passing = int((judged.grid == Die.PASS).sum())
    if said.get("SUMPAS") and options.pass_bins is None:
        declared = whole_number(said["SUMPAS"], "SUMPAS", name)
        if declared != passing:
            notes.warnings.append(options.differs(f"{name}: {declared} good dies by its SUMPAS, {passing} in the map."))
    grid, corner = upright(judged.grid, notch_at("", options, notes, name, key="notch"), name)
    return WaferMap(
        grid=grid,
        lot=first_of(said, LOT),
        wafer=wafer,
        product=first_of(said, PRODUCT),
        corner=corner,
        bins=judged.bins,
        assumed=tuple(notes.assumed),
        warnings=tuple(notes.warnings),
    )


def _cells(text: str, cols: int) -> str:
    """Return a row's codes: blanks stand round or between them, or are one."""
    for row in (text.strip(), text.rstrip("\r\n"), text.lstrip(), "".join(text.split())):
        if len(row) == cols * WIDTH:
            return row
    return text.strip()
