"""Maps as probers and SEMI's formats write them, for tests: each takes die states, notch down, top row first."""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.uint8]
CODES = {
    "HexaDecimal": ("FF", "01", "0A"),
    "Ascii": (".", "1", "X"),
    "Decimal": ("255", "001", "010"),
    "Integer2": ("FFFF", "0001", "000A"),
}
"""No die, pass and fail, by BinType."""


def drawn(grid: Grid, orientation: int) -> Grid:
    """Return the picture of a map in which its notch is at `orientation`, in degrees clockwise from down."""
    return np.rot90(grid, -orientation // 90)


def rows_of(grid: Grid, codes: Sequence[str], between: str = "") -> list[str]:
    """Return the rows of a picture in codes for no die, pass and fail."""
    return [between.join(codes[state] for state in row) for row in grid.tolist()]


def write_sinf(
    grid: Grid,
    *,
    orientation: int = 0,
    codes: Sequence[str] = ("__", "01", "0A"),
    lot: str = "LOTA",
    wafer: str = "03",
    good: str = "01",
) -> bytes:
    """Return a SINF file; `orientation` is clockwise from down, FNLOC from up."""
    picture = drawn(grid, orientation)
    head = [
        "DEVICE:CHIP7",
        f"LOT:{lot}",
        f"WAFER:{wafer}",
        f"FNLOC:{(orientation + 180) % 360}",
        f"ROWCT:{picture.shape[0]}",
        f"COLCT:{picture.shape[1]}",
        f"BCEQU:{good}",
        "REFPX:",
        "REFPY:",
        "DUTMS:mm",
        "XDIES:0.0",
        "YDIES:",
    ]
    return "\n".join([*head, *(f"RowData:{row}" for row in rows_of(picture, codes, " ")), ""]).encode()


def counted(grid: Grid, codes: Sequence[str], element: str) -> list[str]:
    """Return the elements that define a map's two bins."""
    return [
        f'<{element} BinCode="{codes[state]}" BinQuality="{quality}" BinCount="{int((grid == state).sum())}"/>'
        for state, quality in ((1, "Pass"), (2, "Fail"))
    ]


def write_g85(
    grid: Grid, *, orientation: int = 0, bin_type: str = "HexaDecimal", lot: str = "LOTA", wafer: str = "03"
) -> bytes:
    """Return a SEMI G85 file."""
    picture, codes = drawn(grid, orientation), CODES[bin_type]
    return "\n".join(
        [
            '<?xml version="1.0"?>',
            f'<Map xmlns="http://www.semi.org" WaferId="{wafer}" FormatRevision="SEMI G85-0703">',
            f'<Device BinType="{bin_type}" NullBin="{codes[0]}" Rows="{picture.shape[0]}" Columns="{picture.shape[1]}"'
            f' OriginLocation="2" Orientation="{orientation}" LotId="{lot}" ProductId="CHIP7"'
            ' CreateDate="20261126193000123">',
            *counted(grid, codes, "Bin"),
            '<Data MapName="m" MapVersion="1">',
            *(f"<Row><![CDATA[{row}]]></Row>" for row in rows_of(picture, codes)),
            "</Data></Device></Map>",
        ]
    ).encode()


def write_e142_variant(
    grid: Grid,
    *,
    orientation: int = 0,
    origin: str = "UpperLeft",
    axis: str = "DownRight",
    bin_type: str = "HexaDecimal",
    lot: str = "LOTA",
    wafer: str = "03",
    parts: bool = False,
    references: str = "",
    top_first: bool = False,
) -> bytes:
    """Return a SEMI E142 file of any axes.

    Args:
        grid: die states.
        orientation: where the notch is in the picture.
        origin, axis: OriginLocation and AxisDirection.
        bin_type: see CODES.
        lot, wafer: their names.
        parts: whether each BinCode has its X and Y, counted from 0, in pieces of at most five dies.
        references: elements to put before the BinCodeMap.
        top_first: whether the top row comes first, whatever `axis` says.
    """
    picture, codes = drawn(grid, orientation), CODES[bin_type]
    rows, cols = picture.shape
    listed = picture[:: -1 if axis.startswith("Up") and not top_first else 1, :: -1 if axis.endswith("Left") else 1]
    if parts:
        lines = [
            f'<BinCode X="{x}" Y="{y}">{"".join(codes[state] for state in row[x : x + 5])}</BinCode>'
            for y, row in enumerate(listed.tolist())
            for x in range(0, cols, 5)
        ]
    else:
        lines = [f"<BinCode>{row}</BinCode>" for row in rows_of(listed, codes)]
    return "\n".join(
        [
            '<?xml version="1.0" encoding="utf-8"?>',
            '<s:MapData xmlns:s="urn:semi-org:xsd.E142-1.V0805.SubstrateMap" xmlns:y="other"><s:Layouts>',
            '<s:Layout LayoutId="WaferLayout"><s:Dimension X="1" Y="1"/></s:Layout>',
            f'<s:Layout LayoutId="Devices"><s:Dimension X="{cols}" Y="{rows}"/></s:Layout></s:Layouts>',
            f'<s:Substrates><s:Substrate SubstrateId="{wafer}"><s:LotId>{lot}</s:LotId></s:Substrate></s:Substrates>',
            f'<s:SubstrateMaps><s:SubstrateMap SubstrateType="Wafer" SubstrateId="{wafer}" y:substrateId="no"'
            f' Orientation="{orientation}" OriginLocation="{origin}" AxisDirection="{axis}"'
            ' LayoutSpecifier="WaferLayout/Devices"><s:Overlay MapName="SortGrade">',
            references.replace("<", "<s:").replace("<s:/", "</s:"),
            f'<s:BinCodeMap BinType="{bin_type}" NullBin="{codes[0]}"><s:BinDefinitions>',
            *(line.replace("<", "<s:") for line in counted(grid, codes, "BinDefinition")),
            "</s:BinDefinitions>",
            *(line.replace("<", "<s:").replace("<s:/", "</s:") for line in lines),
            "</s:BinCodeMap></s:Overlay></s:SubstrateMap></s:SubstrateMaps></s:MapData>",
        ]
    ).encode()


def write_wmap(grid: Grid, *, orientation: int = 0, lot: str = "LOTA", wafer: str = "03") -> bytes:
    """Return a WMAP 3.2 file; it does not say where the notch is."""
    picture = drawn(grid, orientation)
    head = [
        "WMAP 3.2",
        f"LOTID {lot}",
        f"WAFID {wafer}",
        f"ROWCNT {picture.shape[0]}",
        f"COLCNT {picture.shape[1]}",
        "PASBIN 01",
        "SKIPDI 00,XX",
        f"SUMPAS {int((grid == 1).sum())}",
    ]
    rows = [f"MAP{number:03d} {row}" for number, row in enumerate(rows_of(picture, ("00", "01", "0A")), 1)]
    return "\r\n".join([*head, *rows, ""]).encode()


def write_electroglas(grid: Grid, *, orientation: int = 0, y_up: bool = False, x0: int = -3, y0: int = -2) -> bytes:
    """Return an Electroglas list; it says neither where the notch is nor which way y grows."""
    picture = drawn(grid, orientation)
    lines = []
    for row, col in np.argwhere(picture != 0).tolist():
        y = y0 + (len(picture) - 1 - row if y_up else row)
        lines.append(f"X{x0 + col}Y{y}\t{1 if picture[row, col] == 1 else 10}\r\n")
    return "".join(lines).encode()


def write_tsk(
    grid: Grid,
    *,
    orientation: int = 0,
    lot: str = "LOTA",
    wafer: str = "LOTA-03",
    counts: tuple[int, int] | None = None,
) -> bytes:
    """Return a TSK file with an empty outer ring; `orientation` is clockwise from down, its flat angle from up.

    Args:
        grid: die states.
        orientation: where the notch is in the picture.
        lot, wafer: their names.
        counts: good and bad dies by the header; None: the true ones.
    """
    picture = np.pad(drawn(grid, orientation), 1)
    rows, cols = picture.shape
    good, bad = counts or (int((grid == 1).sum()), int((grid == 2).sum()))
    head = bytearray(236)
    head[0:20] = b"OPERATOR".ljust(20)
    head[20:36] = b"CHIP7".ljust(16)
    struct.pack_into(">H", head, 48, (orientation + 180) % 360)
    head[51] = 2
    struct.pack_into(">HH", head, 52, cols, rows)
    head[60:81] = wafer.encode().ljust(21)
    head[82:100] = lot.encode().ljust(18, b"\0")
    head[104:106] = b"\2\2"
    head[148:158] = b"2611261930"
    struct.pack_into(">HHH", head, 210, good + bad & 0xFFFF, good & 0xFFFF, bad & 0xFFFF)
    words = np.zeros((rows, cols, 3), ">u2")
    words[..., 0] = (picture.astype(np.uint16) << 14) | (np.arange(cols, dtype=np.uint16) & 0x1FF)
    words[..., 1] = ((picture > 0).astype(np.uint16) << 14) | (np.arange(rows, dtype=np.uint16)[:, None] & 0x1FF)
    words[..., 2] = np.choose(picture, (0, 1, 57))
    return bytes(head) + words.tobytes()
