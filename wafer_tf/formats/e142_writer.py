"""A wafer map as a SEMI E142 file, with the classifier's answer beside it. Needs numpy and the standard library."""

import re
from collections.abc import Mapping
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from wafer_tf.dies import Die
from wafer_tf.formats.wafer_map import WaferMap

CODES = {Die.ABSENT: "FF", Die.PASS: "01", Die.FAIL: "02"}
"""What a die is written as: FF is the NullBin most files use, while many use 00 for a bin."""
ALIAS = "wafer_tf "
"""Before the names of an answer's fields."""
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_e142(wafer: WaferMap, *, call: Mapping[str, str] | None = None) -> bytes:
    r"""Write one wafer as E142, namespace V1005: notch down, first row on top, pass 01 and fail 02 with their counts.

    The answer goes into the substrate's AliasIds, E142's own place for named values, where testers put their start
    time and program: a second overlay without dies would make a map of none for readers that take the last one.
    `formats.e142` reads the same array back, and the answer as facts.

    Args:
        wafer: its grid, lot, wafer and product are written; of its bins, pass and fail are all that a grid holds.
        call: the answer's fields, by name, such as {"class": "Edge-Ring", "confidence": "0.93"}.

    Examples:
        >>> import numpy as np
        >>> grid = np.array([[0, 1, 0], [1, 2, 1], [0, 1, 0]], np.uint8)
        >>> text = write_e142(WaferMap(grid=grid, wafer="W1"), call={"class": "Center"}).decode()
        >>> [line.strip() for line in text.split("\n") if "Alias" in line or "<BinCode>" in line][1:3]
        ['<AliasId Type="wafer_tf class" Value="Center"/>', '</AliasIds>']
    """
    rows, cols = wafer.grid.shape
    passing, failing = (int((wafer.grid == state).sum()) for state in (Die.PASS, Die.FAIL))
    substrate = f'SubstrateType="Wafer" SubstrateId={_attribute(wafer.wafer)}'
    said = [f"      <LotId>{escape(_text(wafer.lot))}</LotId>"] if wafer.lot else []
    if call:
        said.append("      <AliasIds>")
        for key, value in call.items():
            said.append(f"        <AliasId Type={_attribute(ALIAS + key)} Value={_attribute(value)}/>")
        said.append("      </AliasIds>")
    said.append(f"      <GoodDevices>{passing}</GoodDevices>")
    product = [f"      <ProductId>{escape(_text(wafer.product))}</ProductId>"] if wafer.product else []
    table = np.array([CODES[state].encode() for state in Die])
    codes = [f"            <BinCode>{row.tobytes().decode()}</BinCode>" for row in table[wafer.grid]]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<MapData xmlns="urn:semi-org:xsd.E142-1.V1005.SubstrateMap">',
        "  <Layouts>",
        '    <Layout LayoutId="WaferLayout" DefaultUnits="mm" TopLevel="true">',
        '      <Dimension X="1" Y="1"/>',
        '      <ChildLayouts><ChildLayout LayoutId="Devices"/></ChildLayouts>',
        "    </Layout>",
        '    <Layout LayoutId="Devices" DefaultUnits="mm">',
        f'      <Dimension X="{cols}" Y="{rows}"/>',
        *product,
        "    </Layout>",
        "  </Layouts>",
        "  <Substrates>",
        f"    <Substrate {substrate}>",
        *said,
        "    </Substrate>",
        "  </Substrates>",
        "  <SubstrateMaps>",
        f'    <SubstrateMap {substrate} LayoutSpecifier="WaferLayout/Devices" SubstrateSide="TopSide" Orientation="0"'
        ' OriginLocation="UpperLeft" AxisDirection="DownRight">',
        '      <Overlay MapName="BinCodeMap" MapVersion="1">',
        f'        <BinCodeMap BinType="HexaDecimal" NullBin="{CODES[Die.ABSENT]}">',
        "          <BinDefinitions>",
        f'            <BinDefinition BinCode="{CODES[Die.PASS]}" BinCount="{passing}" BinQuality="Pass"/>',
        f'            <BinDefinition BinCode="{CODES[Die.FAIL]}" BinCount="{failing}" BinQuality="Fail"/>',
        "          </BinDefinitions>",
        *codes,
        "        </BinCodeMap>",
        "      </Overlay>",
        "    </SubstrateMap>",
        "  </SubstrateMaps>",
        "</MapData>",
        "",
    ]
    return "\n".join(lines).encode()


def _text(value: str) -> str:
    """Return a value without the characters that XML cannot hold."""
    return _NO_XML.sub("\ufffd", value)


def _attribute(value: str) -> str:
    return quoteattr(_text(value))
