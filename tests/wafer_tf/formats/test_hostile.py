"""Files made to exhaust a reader: one clear refusal, in bounded memory and time, each in a process of its own."""

import bz2
import gzip
import io
import itertools
import json
import lzma
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests import ROOT
from tests.wafer_tf.formats.writers_stdf import far, hbr, mir, prr, wcr, wir

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")

MB = 2**20
MIN_LIMIT_MB, TIMES_FILE = 256, 4
"""Megabytes that reading may take above the interpreter: so many, or so many times what the file unpacks to."""
SECONDS, MIN_SECONDS = 1.0, 10
"""Per megabyte, and at least."""
CHILD = """
import importlib, json, pkgutil, re, resource, sys, time
import wafer_tf.formats as formats
for module in pkgutil.iter_modules(formats.__path__):
    importlib.import_module(f"wafer_tf.formats.{module.name}")
from wafer_tf.errors import InputError
from wafer_tf.formats.read import read_maps
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024
resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
before, started, said, maps = peak(), time.perf_counter(), [], 0
try:
    with open(sys.argv[1], "rb") as stream:
        for wafer in read_maps(stream, "file").wafers:
            if isinstance(wafer, InputError):
                said.append(str(wafer))
            else:
                maps += 1
except InputError as error:
    said.append(str(error))
print(json.dumps([maps, said, peak() - before, time.perf_counter() - started]))
"""


class Hostile(NamedTuple):
    """A file.

    Attributes:
        write: it.
        says: what the refusal must contain, "" where the file is read.
        unpacks_mb: megabytes one of its members unpacks to, where it is packed.
    """

    write: Callable[[], bytes]
    says: str
    unpacks_mb: float = 0.0


def zipped(*members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(members):
            archive.writestr(f"{number}", data)
    return out.getvalue()


def one_member_many_times(count: int, data: bytes) -> bytes:
    """Return a zip whose directory lists one packed member again and again."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    sizes = (33, zlib.crc32(data), len(body), len(data), 1, 0)
    out = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 8, 0, *sizes) + b"a" + body
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, 0, 8, 0, *sizes, 0, 0, 0, 0, 0) + b"a"
    return (
        out + entry * count + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(entry) * count, len(out), 0)
    )


def npy_of_a_long_header(blanks: int = 0) -> bytes:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (3, 3), }"
    return b"\x93NUMPY\2\0" + struct.pack("<I", 1 << 30) + head + b" " * blanks


def wafer_set(flat: bytes) -> bytes:
    out = io.BytesIO()
    arrays = {"offsets": [0, 9], "shapes": [[3, 3]], "lot": ["L"], "wafer_index": [1]}
    np.savez_compressed(out, **{key: np.array(value) for key, value in arrays.items()})
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("flat.npy", flat)
    return out.getvalue()


def entities() -> bytes:
    names = "abcdefghijk"
    lines = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in itertools.pairwise(names))
    return f'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "ha">{lines}]><Map>&k;</Map>'.encode()


def g85(body: bytes, rows: str = "3", columns: str = "3") -> bytes:
    device = f'<Map><Device BinType="Ascii" Rows="{rows}" Columns="{columns}" NullBin="."><Data>'
    return device.encode() + body + b"</Data></Device></Map>"


def klarf(plan: bytes) -> bytes:
    return (
        b'FileVersion 1 2;\nSampleSize 1 300;\nOrientationMarkLocation DOWN;\nDiePitch 5000 4000;\nWaferID "1";\n'
        + plan
        + b"DefectRecordSpec 3 DEFECTID XINDEX YINDEX ;\nDefectList\n 1 0 0;\nEndOfFile;\n"
    )


def stdf(*records: bytes) -> bytes:
    return b"".join((far("<"), mir("<"), wcr("<"), wir("<", "1"), *records))


ATDF = b"FAR:A|4|2|U\n"
KLARF_18 = b'Record FileRecord "1.8"\n{\n'
KEYS = b"".join(b"K%d:1\n" % number for number in range(1_500_000))
ONE_CHARACTER = {
    "]": "expected 0 (no die), 1 (pass) or 2 (fail)",
    "<": "expected",
    "{": "JSON",
    "1": "expected",
    " ": "empty",
    "\n": "empty",
    "\0": "neither npy, npz nor text",
    "\xff": "not a text file",
    ",": "over 2000 rows or columns",
    '"': "expected",
}
HOSTILE = {
    "entities": Hostile(entities, "DOCTYPE or entities"),
    "entities behind a long comment": Hostile(
        lambda: b"<?xml version='1.0'?><Map><!--" + b" " * 70_000 + b"-->&a;</Map>", "undefined entity"
    ),
    "a million nested elements": Hostile(lambda: b"<Map>" * 10**6 + b"</Map>" * 10**6, "nested over 64 deep"),
    "a tag of 30 MB": Hostile(lambda: b'<MapData a="' + b"x" * (30 * MB), "a tag or comment of over 1048576 bytes"),
    "100,000 attributes": Hostile(
        lambda: b"<MapData " + b" ".join(b'a%d=""' % n for n in range(100_000)) + b"/>", "no <SubstrateMap>"
    ),
    "a G85 of 10^9 rows": Hostile(lambda: g85(b"<Row>111</Row>" * 3, "1000000000"), "dies span 1000000000 rows"),
    "a G85 row of 30 MB": Hostile(lambda: g85(b"<Row>" + b"1" * (30 * MB) + b"</Row>"), "1 rows, 3 by its Rows"),
    "a G85 number of 900,000 digits": Hostile(lambda: g85(b"<Row>111</Row>", "9" * 900_000), "expected a whole number"),
    "an STDF record longer than the file": Hostile(
        lambda: stdf(struct.pack("<HBB", 65535, 5, 20) + bytes(9)), "in the middle of the record"
    ),
    "an STDF of zeros": Hostile(lambda: stdf(bytes(60 * MB)), "type 0, subtype 0"),
    "a million STDF wafers": Hostile(lambda: stdf(wir("<", "") * 10**6), "over 1000 wafers"),
    "300,000 STDF counts": Hostile(lambda: stdf(hbr("<", 1, 1) * 300_000), "over 200000 records of bins"),
    "STDF dies at the ends of the axes": Hostile(
        lambda: stdf(*(prr("<", x, y) for x in (-32000, 32000) for y in (-32000, 32000))), "dies span 64001 rows"
    ),
    "30 MB of ATDF fields": Hostile(lambda: ATDF + b"PRR:" + b"1|" * (15 * MB), "file"),
    "30 MB of blank ATDF lines": Hostile(lambda: ATDF + b"\n" * (30 * MB), "over 1000000 blank lines"),
    "a KLARF of 10^9 dies": Hostile(lambda: klarf(b"SampleTestPlan 1000000000\n 0 0;\n"), "1000000000"),
    "a KLARF coordinate of a million digits": Hostile(
        lambda: klarf(b"SampleTestPlan 2\n 0 0\n " + b"9" * 10**6 + b" 1;\n"), "expected the whole numbers of a die"
    ),
    "a million KLARF classes": Hostile(
        lambda: klarf(b"ClassLookup 1000000\n" + b' 1 "c"\n' * 10**6 + b";\n"), "over 65536 lines"
    ),
    "a million KLARF wafers": Hostile(lambda: klarf(b'WaferID "1";\n' * 10**6), "over 1000 wafers"),
    "a million nested KLARF records": Hostile(lambda: KLARF_18 + b'Record A "1" {' * 10**6, "over 16 records within"),
    "a KLARF list of 10^9 rows": Hostile(
        lambda: (
            KLARF_18 + b'Record LotRecord "1" { Record WaferRecord "1" { List DefectList { Columns 2 { int32 XINDEX, '
            b"int32 YINDEX } Data 1000000000 { 1 1; } } } } }\nEndOfFile;\n"
        ),
        "1000000000 rows",
    ),
    "a SINF of 10^9 rows": Hostile(
        lambda: b"ROWCT:1000000000\nCOLCT:1000000000\n" + b"RowData:01 01 01\n" * 3, "dies span 1000000000 rows"
    ),
    "a SINF row of 15 MB": Hostile(lambda: b"ROWCT:3\nRowData:" + b"01 " * (5 * MB), "expected a row of 2000 dies"),
    "1,500,000 SINF keys": Hostile(lambda: b"ROWCT:3\n" + KEYS, "file"),
    "a WMAP of 10^9 rows": Hostile(
        lambda: b"WMAP 3.2\nROWCNT 1000000000\nCOLCNT 3\nMAP001 010101\n", "dies span 1000000000 rows"
    ),
    "Electroglas dies far apart": Hostile(
        lambda: b"X0Y0\t1\n" * 9 + b"X999999Y999999\t1\n", "dies span 1000000 rows x 1000000 columns"
    ),
    "a million Electroglas lines": Hostile(lambda: b"X1Y1\t1\n" * 10**6, "1 x 1 cells"),
    "a TSK map of 2,000 x 2,000 without dies": Hostile(
        lambda: b"OP".ljust(20) + b"CHIP7".ljust(28) + b"\0\xb4\0\2" + struct.pack(">HH", 2000, 2000) + bytes(200),
        "expected 24000236",
    ),
    "1,000,000 columns of a table": Hostile(
        lambda: b"x,y,bin," + b",".join(b"c%d" % n for n in range(10**6)) + b"\n1,1,1\n", "over 2000 rows or columns"
    ),
    "a table's line of 30 MB": Hostile(lambda: b"x,y,bin\n1,1,1" + b"," * (30 * MB), "line 2: over 65536 characters"),
    "a coordinate of 30 MB": Hostile(lambda: b"x,y,bin\n1,1" + b"1" * (30 * MB) + b",1\n", "over 65536 characters"),
    "dies 2,000,000,000 apart": Hostile(lambda: b"x,y,bin\n0,0,1\n2000000000,2000000000,1\n", "dies span 2000000001"),
    "a million wafers in a table": Hostile(
        lambda: b"wafer,x,y,bin\n" + b"".join(b"%d,1,1,1\n" % n for n in range(10**6)), "over 10000 different wafers"
    ),
    "a million bins in a table": Hostile(
        lambda: b"x,y,bin\n" + b"".join(b"1,1,%d\n" % n for n in range(10**6)), "over 65536 different values"
    ),
    "1.4 MB of short lines": Hostile(lambda: b"1\n" * 700_000, "over 8000 lines"),
    "a zip in a zip": Hostile(lambda: zipped(zipped(b"0,1\n")), "a zip archive in an archive"),
    "a zip of 1,001 files": Hostile(lambda: zipped(*[b"1"] * 1001), "over 1000 entries"),
    "a zip that unpacks to 60 GB": Hostile(
        lambda: one_member_many_times(1000, bytes(60 * MB)), "file: unpacks to over 268435456 bytes", 60
    ),
    "a zip member of 100 MB": Hostile(lambda: zipped(b"1" * (100 * MB)), "unpacks to over 67108864 bytes", 64),
    "three gzip files of 150 MB each in a zip": Hostile(
        lambda: zipped(*[gzip.compress(ATDF + b"PTR:%s\n" % (b"x" * 60_000) * 2500)] * 3),
        "file: unpacks to over 268435456 bytes",
    ),
    "a gzip file of 6 GB": Hostile(
        lambda: (
            gzip.compress(stdf()) + gzip.compress((struct.pack("<HBB", 65500, 15, 10) + bytes(65500)) * 1000) * 1600
        ),
        "file: unpacks to over ",
    ),
    "a bzip2 file of 100 GB": Hostile(lambda: bz2.compress(b"1" * (64 * MB)) * 1600, "over 64000000 bytes", 64),
    "an xz file of 100 GB": Hostile(lambda: lzma.compress(b"1" * (64 * MB)) * 1600, "over 64000000 bytes", 64),
    "packed three times": Hostile(lambda: gzip.compress(gzip.compress(gzip.compress(b"1"))), "packed 3 times over"),
    "an npy header of 1 GiB": Hostile(npy_of_a_long_header, "header of 1073741836 bytes"),
    "an npz whose header is said to have 1 GiB": Hostile(
        lambda: wafer_set(npy_of_a_long_header()), "a header of 1073741824 bytes; expected at most 65536"
    ),
    "an npz whose header has 200 MB of blanks": Hostile(
        lambda: wafer_set(npy_of_a_long_header(200 * MB)), "a header of 1073741824 bytes; expected at most 65536"
    ),
}
HOSTILE |= {
    f"30 MB of {character!r}": Hostile(lambda c=character: c.encode("latin-1") * (30 * MB), says)
    for character, says in ONE_CHARACTER.items()
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused_in_bounded_memory_and_time(name: str, tmp_path: Path) -> None:
    hostile = HOSTILE[name]
    path = tmp_path / "file"
    path.write_bytes(hostile.write())
    size_mb = max(path.stat().st_size / MB, hostile.unpacks_mb)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path)], capture_output=True, text=True, cwd=ROOT, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    maps, said, peak_mb, seconds = json.loads(done.stdout)
    assert maps == 0 and said
    assert hostile.says in said[-1]
    assert all(sentence.startswith(("file", "map file")) and len(sentence) < 1000 for sentence in said)
    assert peak_mb <= max(MIN_LIMIT_MB, TIMES_FILE * size_mb)
    assert seconds <= max(MIN_SECONDS, SECONDS * size_mb)
