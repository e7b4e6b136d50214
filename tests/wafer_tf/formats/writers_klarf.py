"""KLARF files of a given wafer in both syntaxes, for tests that read one wafer from many formats."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

DEGREES = {"DOWN": 0, "LEFT": 90, "UP": 180, "RIGHT": 270}
PITCH_UM = (5000, 4000)
COLUMNS = "DEFECTID XREL YREL XINDEX YINDEX XSIZE YSIZE DEFECTAREA DSIZE CLASSNUMBER TEST IMAGECOUNT IMAGELIST"
CENTRE_DIE = (3, 2)
"""Columns and rows of the drawn grid left of and below die 0, 0, so that a file has negative indices too."""


def write_klarf(
    grid: NDArray[Any],
    *,
    orientation: Literal["DOWN", "LEFT", "UP", "RIGHT"] = "DOWN",
    version: Literal["1.2", "1.8"] = "1.2",
) -> bytes:
    """Return a KLARF file of a wafer, every failing die with one defect, the last of them with two.

    Args:
        grid: (rows, cols) of 0 no die, 1 pass, 2 fail; notch down, row 0 on top.
        orientation: where the file shall have the notch.
        version: by keywords (1.2) or by records (1.8).
    """
    drawn = np.rot90(grid, -DEGREES[orientation] // 90)
    dies, failing = _indices(drawn, drawn > 0), _indices(drawn, drawn == 2)
    defects = [*failing, *failing[-1:]]
    write = _by_keywords if version == "1.2" else _by_records
    return write(dies, defects, orientation, (len(dies), len(failing))).encode()


def _indices(drawn: NDArray[Any], chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    rows, cols = np.nonzero(chosen)
    return [
        (int(col) - CENTRE_DIE[0], len(drawn) - 1 - int(row) - CENTRE_DIE[1])
        for row, col in zip(rows, cols, strict=True)
    ]


def _by_keywords(
    dies: list[tuple[int, int]], defects: list[tuple[int, int]], orientation: str, counts: tuple[int, int]
) -> str:
    plan = "".join(f" {x} {y}\n" for x, y in dies).rstrip()
    rows = "".join(f" {n} 10.5 20.5 {x} {y} 1.5 2.5 3.75 2.5 7 1 0 0\n" for n, (x, y) in enumerate(defects, 1)).rstrip()
    return f"""FileVersion 1 2;
FileTimestamp 11-26-26 19:35:00;
InspectionStationID "MAKER" "MODEL" "TOOL1";
SampleType WAFER;
ResultTimestamp 11-26-26 19:30:00;
LotID "LOT1";
SampleSize 1 300;
DeviceID "PRODUCT";
StepID "STEP";
SampleOrientationMarkType NOTCH;
OrientationMarkLocation {orientation};
DiePitch {PITCH_UM[0]:.10e} {PITCH_UM[1]:.10e};
DieOrigin 0.0 0.0;
WaferID "07";
Slot 7;
SampleCenterLocation 0.0 0.0;
ClassLookup 2
 0 "Unclassified"
 7 "Particle";
InspectionTest 1;
SampleTestPlan {len(dies)}
{plan};
AreaPerTest 1.0e+10;
DefectRecordSpec 13 {COLUMNS} ;
DefectList
{rows};
SummarySpec 5 TESTNO NDEFECT DEFDENSITY NDIE NDEFDIE ;
SummaryList
 1 {len(defects)} 0.1 {counts[0]} {counts[1]};
EndOfFile;
"""


def _by_records(
    dies: list[tuple[int, int]], defects: list[tuple[int, int]], orientation: str, counts: tuple[int, int]
) -> str:
    plan = "".join(f"            {x} {y};\n" for x, y in dies)
    rows = "".join(
        f"          {n} 10500 20500 {x} {y} 1500 2500 3750000 2500 7 1 N;\n" for n, (x, y) in enumerate(defects, 1)
    )
    return f"""Record FileRecord  "1.8"
{{
  Record LotRecord "LOT1"
  {{
    Record WaferRecord "07"
    {{
      Field DieOrigin 2 {{0, 0}}
      Field SampleCenterLocation 2 {{0, 0}}
      Field SlotNumber 1 {{7}}
      List DefectList
      {{
        Columns 12 {{ int32 DEFECTID, int32 XREL, int32 YREL, int32 XINDEX, int32 YINDEX, int32 XSIZE, int32 YSIZE,
        float DEFECTAREA, int32 DSIZE, int32 CLASSNUMBER, int32 TEST, ImageList IMAGEINFO }}
        Data {len(defects)}
        {{
{rows}        }}
      }}
      Record TestRecord "1"
      {{
        Field AreaPerTest 1 {{1.0e+16}}
        List SampleTestPlanList
        {{
          Columns 2 {{ int32 XINDEX, int32 YINDEX }}
          Data {len(dies)}
          {{
{plan}          }}
        }}
      }}
      Record SummaryRecord
      {{
        List TestSummaryList
        {{
          Columns 5 {{ int32 TESTNO, int32 NDEFECT, float DEFDENSITY, int32 NDIE, int32 NDEFDIE }}
          Data 1
          {{
            1 {len(defects)} 0.1 {counts[0]} {counts[1]};
          }}
        }}
      }}
    }}
    Field DeviceID 1 {{"PRODUCT"}}
    Field DiePitch 2 {{{PITCH_UM[0] * 1000}, {PITCH_UM[1] * 1000}}}
    Field InspectionStationID 3 {{"MAKER", "MODEL", "TOOL1"}}
    Field OrientationMarkLocation 1 {{{DEGREES[orientation]}}}
    Field ResultTimestamp 2 {{"11-26-2026", "19:30:00"}}
    Field SampleOrientationMarkType 1 {{"NOTCH"}}
    Field SampleSize 2 {{300000000, 0}}
    Field StepID 1 {{"STEP"}}
    List ClassLookupList
    {{
      Columns 3 {{ int32 CLASSNUMBER, string CLASSNAME, string CLASSCODE }}
      Data 2
      {{
        0 "Unclassified" "";
        7 "Particle" "";
      }}
    }}
  }}
  Field FileTimestamp 2 {{"11-26-2026", "19:35:00"}}
}}
EndOfFile;
"""
