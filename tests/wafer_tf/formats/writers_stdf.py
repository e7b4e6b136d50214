"""Small STDF and ATDF files, written by the specifications' tables and not by the readers' code."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wafer_tf.dies import Die

Notch = Literal["down", "left", "up", "right"]
Wafer = tuple[NDArray[np.uint8], str, str]
"""A map with its notch down and row 0 on top, its lot, and its name."""
Place = tuple[int, int, int]
"""x, y and die state."""

QUARTER_TURNS = {"down": 0, "left": 1, "up": 2, "right": 3}
SIDES = {"down": "D", "left": "L", "up": "U", "right": "R"}
START = 1_780_000_000
"""2026-05-28T20:26:40."""
FAILING_BIN = 5


def record(order: str, typ: int, sub: int, fields: str, *values: Any) -> bytes:
    """Write a record; in `fields`, letters are those of `struct`, and n is a text with its length before it."""
    body = b""
    for code, value in zip(fields, values, strict=True):
        if code == "n":
            text = value.encode("latin-1")
            body += bytes([len(text)]) + text
        elif code == "c":
            body += value.encode("latin-1")
        else:
            body += struct.pack(order + code, value)
    return struct.pack(order + "HBB", len(body), typ, sub) + body


def far(order: str, version: int = 4) -> bytes:
    return record(order, 0, 10, "BB", 1 if order == ">" else 2, version)


def mir(order: str, lot: str = "LOT", product: str = "PART", step: str = "EWS1", start: int = START) -> bytes:
    texts = [lot, product, "NODE", "TESTER", "JOB", "3", "", "OP", "", "", step]
    return record(order, 1, 10, "IIBcccHc" + "n" * 11, start - 60, start, 1, "P", " ", " ", 65535, " ", *texts)


def wcr(order: str, flat: str = "D", x: str = "R", y: str = "D") -> bytes:
    return record(order, 2, 30, "fffBchhcc", 200.0, 3.0, 2.5, 3, flat, -32768, -32768, x, y)


def wir(order: str, wafer: str, head: int = 1, start: int = START) -> bytes:
    return record(order, 2, 10, "BBIn", head, 255, start, wafer)


def wrr(order: str, wafer: str, parts: int, good: int, head: int = 1, retests: int = 0) -> bytes:
    return record(order, 2, 20, "BBIIIIIIn", head, 255, START + 900, parts, retests, 2**32 - 1, good, 2**32 - 1, wafer)


def pir(order: str, head: int = 1, site: int = 1) -> bytes:
    return record(order, 5, 10, "BB", head, site)


def prr(
    order: str, x: int, y: int, *, bin_: int = 1, flags: int | None = None, head: int = 1, site: int = 1, part: str = ""
) -> bytes:
    flags = (0 if bin_ == 1 else 8) if flags is None else flags
    return record(order, 5, 20, "BBBHHHhhInnn", head, site, flags, 3, bin_, bin_, x, y, 12, part, "", "")


def hbr(order: str, number: int, parts: int, verdict: str = " ", head: int = 255, site: int = 0) -> bytes:
    return record(order, 1, 40, "BBHIcn", head, site, number, parts, verdict, "")


def mrr(order: str) -> bytes:
    return record(order, 1, 20, "I", START + 1000)


def ptr(order: str, number: int, text: str, head: int = 1, site: int = 1) -> bytes:
    return record(order, 15, 10, "IBBBBfnn", number, head, site, 0, 192, 0.5, text, "")


def places(grid: NDArray[np.uint8], *, y_up: bool, notch: Notch, x_left: bool = False) -> list[Place]:
    """Return the dies of a map as a tool counts them whose picture has the notch elsewhere, x and y from -2 on."""
    drawn = np.rot90(grid, -QUARTER_TURNS[notch])
    rows, cols = drawn.shape
    found = []
    for row, col in np.argwhere(drawn).tolist():
        y = rows - 1 - row if y_up else row
        x = cols - 1 - col if x_left else col
        found.append((x - 2, y - 2, int(drawn[row, col])))
    return found


def write_stdf(
    wafers: Sequence[Wafer],
    *,
    big_endian: bool = False,
    y_up: bool = False,
    notch: Notch = "down",
    x_left: bool = False,
) -> bytes:
    """Write wafers of one lot, their dies tested on two sites with two tests each."""
    order = ">" if big_endian else "<"
    out = [far(order), mir(order, lot=wafers[0][1] if wafers else "LOT")]
    out.append(wcr(order, SIDES[notch], "L" if x_left else "R", "U" if y_up else "D"))
    totals = {1: 0, FAILING_BIN: 0}
    for grid, _, wafer in wafers:
        dies = places(grid, y_up=y_up, notch=notch, x_left=x_left)
        out.append(wir(order, wafer))
        for at in range(0, len(dies), 2):
            pair = list(enumerate(dies[at : at + 2], 1))
            out += [pir(order, site=site) for site, _ in pair]
            out += [ptr(order, test, "Vdd" * test, site=site) for test in (1, 2) for site, _ in pair]
            for site, (x, y, state) in pair:
                bin_ = 1 if state == Die.PASS else FAILING_BIN
                totals[bin_] += 1
                out.append(prr(order, x, y, bin_=bin_, site=site, part=str(at + site)))
        out.append(wrr(order, wafer, len(dies), sum(state == Die.PASS for _, _, state in dies)))
    out += [hbr(order, number, parts, "P" if number == 1 else "F") for number, parts in totals.items()]
    return b"".join([*out, mrr(order)])


def write_atdf(
    wafers: Sequence[Wafer],
    *,
    y_up: bool = False,
    notch: Notch = "down",
    x_left: bool = False,
    separator: str = "|",
    end: str = "\n",
) -> bytes:
    """Write the same in ATDF; every third result goes on in a second line."""
    time = "20:26:40 28-MAY-2026"
    lines = [
        ["FAR:A", 4, 2, "U"],
        [f"MIR:{wafers[0][1] if wafers else 'LOT'}", "PART", *("JOB", "NODE", "TESTER"), time, time, "OP", "P", 1, ""],
        ["WCR:" + SIDES[notch], "L" if x_left else "R", "U" if y_up else "D", 200, 3, 2.5, 3, "", ""],
    ]
    lines[1] += ["EWS1", "", 3]
    totals = {1: 0, FAILING_BIN: 0}
    for grid, _, wafer in wafers:
        dies = places(grid, y_up=y_up, notch=notch, x_left=x_left)
        lines.append(["WIR:1", time, "", wafer])
        for at, (x, y, state) in enumerate(dies):
            bin_ = 1 if state == Die.PASS else FAILING_BIN
            totals[bin_] += 1
            lines += [["PIR:1", 1], ["PTR:7", 1, 1, 0.5, "P", "", "Vdd"]]
            lines.append(["PRR:1", 1, at, 1, "P" if bin_ == 1 else "F", bin_, bin_, x, y, "", "", 12, "", ""])
            if at % 3 == 2:
                lines[-1][5] = f"{end} {bin_}"
        lines.append(["WRR:1", time, len(dies), wafer, "", 0, "", sum(state == Die.PASS for _, _, state in dies)])
    lines += [["HBR:", "", number, parts, "P" if number == 1 else "F"] for number, parts in totals.items()]
    lines.append(["MRR:" + time])
    return "".join(separator.join(map(str, line)) + end for line in lines).encode("latin-1")


def dies(order: str, grid: NDArray[np.uint8], **fields: Any) -> Iterator[bytes]:
    """Yield the results of a map's dies, x and y from 0."""
    for y, x in np.argwhere(grid).tolist():
        yield prr(order, x, y, bin_=1 if grid[y, x] == Die.PASS else FAILING_BIN, **fields)


def joined(order: str, parts: Iterable[bytes], *, wafer_map: bool = True) -> bytes:
    """Return a file of these records after FAR, MIR and, for a map, WCR, and before MRR."""
    return b"".join([far(order), mir(order), *([wcr(order)] if wafer_map else []), *parts, mrr(order)])
