"""A small KLARF file, a wafer of 3 x 3 dies, and how the tests read one."""

import numpy as np
import pytest

from tests import SHARED
from wafer_tf.errors import InputError
from wafer_tf.formats import klarf
from wafer_tf.formats.opened import Opened
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import WaferMap

EXAMPLES = SHARED / "data" / "formats"
LENIENT = Options(lenient=True)
GRID = np.array([[0, 1, 1, 0], [1, 2, 1, 1], [1, 1, 1, 2], [0, 1, 1, 1], [0, 0, 1, 0]], np.uint8)

SMALL = """FileVersion 1 2;
FileTimestamp 2026-11-26 19:35:00;
LotID "L;1";
SampleSize 1 100;
SampleOrientationMarkType NOTCH;
OrientationMarkLocation DOWN;
DiePitch 20000 20000;
WaferID "W1";
SampleCenterLocation 10000 10000;
ClassLookup 3
 1 "Particle"
 2 "Scratch; {long}"
 3 "Other";
InspectionTest 1;
SampleTestPlan 9
 -1 1
 0 1
 1 1
 -1 0
 0 0
 1 0
 -1 -1
 0 -1
 1 -1;
DefectRecordSpec 9 DEFECTID XINDEX YINDEX DSIZE DEFECTAREA CLASSNUMBER TEST IMAGECOUNT IMAGELIST ;
DefectList
 1 -1 1 0.5 0.25 1 1 0 0
 2 1 0 3.5 9.0 2 1 2 2 1 0 2 0
 3 1 0 0.1 0.01 1 1 0 0
 4 0 -1 N/A 4.0 3 1 0 0;
SummarySpec 5 TESTNO NDEFECT DEFDENSITY NDIE NDEFDIE;
SummaryList
 1 4 0.1 9 3;
EndOfFile;
"""
SMALL_MAP = [[2, 1, 1], [1, 1, 2], [1, 2, 1]]
DEFECTS = SMALL[SMALL.index(" 1 -1 1 0.5") : SMALL.index("SummarySpec")]
WAFER_BLOCK = SMALL[SMALL.index("WaferID") : SMALL.index("EndOfFile")]


def wafers(data: bytes | str, options: Options = DEFAULT, name: str = "w.001") -> list[WaferMap | InputError]:
    data = data.encode() if isinstance(data, str) else data
    return list(klarf.read(Opened.of_bytes(data, name), options).wafers)


def wafer(data: bytes | str, options: Options = DEFAULT) -> WaferMap:
    (found,) = wafers(data, options)
    assert isinstance(found, WaferMap)
    return found


def refusal(data: bytes | str, options: Options = DEFAULT) -> str:
    with pytest.raises(InputError) as caught:
        wafers(data, options)
    return str(caught.value)


def example(name: str, options: Options = DEFAULT) -> list[WaferMap | InputError]:
    path = EXAMPLES / name
    if not path.exists():
        pytest.skip("the examples are in ../shared/data/formats, which is not here")
    return wafers(path.read_bytes(), options, name)
