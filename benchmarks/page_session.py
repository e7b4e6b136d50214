"""What a long session costs the page's server: its resident memory while files are uploaded, judged and removed.

    python -m benchmarks.page_session --run models/wafer [--uploads 200] [--minutes 15] [--spread] [--out FILE]

One tab of Chromium uploads one file after another, as a user does: maps of up to 2,000 a side, sets of 45 wafers,
tables of dies, pictures. It looks at the answer, at every fourth removes all, and now and then draws or reads the
report. The memory is read after every upload. It stops after so many uploads or minutes, whichever comes first.
With --spread the uploads begin at even distances over those minutes, and the page lies idle in between.
"""

import io
import json
import os
import platform
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import FilePayload, Page, expect, sync_playwright

from benchmarks.page import served
from edge.station.speed import processor
from wafer_tf.command import CommandParser
from wafer_tf.synthesis import synthesize

LIMIT_MB = 1200
KEPT = 4
"""Uploads after which all are removed."""
COLOURS = np.array([[255, 255, 255], [0, 160, 0], [200, 0, 0]], np.uint8)
KINDS = ("npy", "set", "table", "picture", "npy", "text", "large", "npy")


def main() -> None:
    p = CommandParser("python -m benchmarks.page_session", __doc__)
    p.add_argument("--run", type=Path, required=True)
    p.add_argument("--bundle", type=Path)
    p.add_argument("--uploads", type=int, default=200)
    p.add_argument("--minutes", type=float, default=15)
    p.add_argument("--spread", action="store_true", help="spread the uploads evenly over the minutes")
    p.add_argument("--chromium", default="/usr/bin/chromium")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    with sync_playwright() as player, served(args.run, args.bundle) as (address, pid):
        browser = player.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(180_000)
        expect.set_options(timeout=180_000)
        complaints: list[str] = []
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.goto(address)
        page.locator(".call").wait_for()
        first = _memory(pid, "VmRSS")
        began = time.monotonic()
        curve = [_memory(pid, "VmRSS") for _ in _session(page, args.uploads, began, args.minutes * 60, args.spread)]
        minutes = (time.monotonic() - began) / 60
        result = {
            "date": str(date.today()),
            "machine": f"{processor()}, {os.cpu_count()} cores",
            "versions": {"python": platform.python_version()}
            | {name: version(name) for name in ("streamlit", "tensorflow", "numpy")},
            "run": args.run.name,
            "uploads": len(curve),
            "uploads_asked": args.uploads,
            "minutes": round(minutes, 1),
            "spread": args.spread,
            "limit_mb": LIMIT_MB,
            "first_page_mb": first,
            "peak_mb": _memory(pid, "VmHWM"),
            "last_mb": curve[-1],
            "mb_an_upload_in_the_last_half": round(float(_slope(curve[len(curve) // 2 :])), 3),
            "browser_complaints": len(complaints),
            "complaints": complaints,
            "every_tenth_mb": curve[::10],
        }
        browser.close()
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _session(page: Page, uploads: int, began: float, seconds: float, spread: bool) -> Iterator[None]:
    """Upload file after file, spread over the seconds or not; give control back after each."""
    _view(page, "Your maps")
    wafers = 0
    for number in range(uploads):
        passed = time.monotonic() - began
        if passed > seconds:
            return
        if spread:
            page.wait_for_timeout(1000 * max(0, number / uploads * seconds - passed))
        kind = KINDS[number % len(KINDS)]
        file, count = _file(kind, number)
        wafers += count
        page.locator("input[type=file]").set_input_files(file)
        if wafers == 1:
            page.locator(f'canvas[data-wafer="{file["name"]}"]').wait_for()
        else:
            page.get_by_text(f"{wafers:,} wafers, ").wait_for()
        _settle(page)
        yield
        if number % KEPT == KEPT - 1:
            page.get_by_role("button", name="Remove all").click()
            page.get_by_text("Nothing uploaded is kept").wait_for()
            wafers = 0
        if number % 20 == 19:
            for name in ("Draw", "Report", "Your maps"):
                _view(page, name)


def _view(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name, exact=True).click()
    _settle(page)


def _settle(page: Page) -> None:
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    expect(page.locator("[data-stale=true]")).to_have_count(0)


def _file(kind: str, number: int) -> tuple[FilePayload, int]:
    """Return a file of new maps, and how many wafers are in it."""
    made = synthesize(5 if kind == "set" else 1, seed=number).wafers
    grid = made.map(number % len(made))
    out = io.BytesIO()
    count = 1
    if kind == "set":
        columns = ("flat", "offsets", "shapes", "lot", "wafer_index")
        np.savez_compressed(out, allow_pickle=False, **{name: getattr(made, name) for name in columns})
        count = len(made)
    elif kind == "large":
        np.save(out, np.kron(grid, np.ones((2000 // grid.shape[0], 2000 // grid.shape[1]), np.uint8)))
    elif kind == "table":
        out.write(_table(grid))
    elif kind == "picture":
        Image.fromarray(np.kron(COLOURS[grid], np.ones((9, 9, 1), np.uint8))).save(out, "PNG")
    elif kind == "text":
        np.savetxt(out, grid, "%d", ",")
    else:
        np.save(out, grid)
    return {"name": f"{number:03d}.{kind}", "mimeType": "application/octet-stream", "buffer": out.getvalue()}, count


def _table(grid: NDArray[np.uint8]) -> bytes:
    rows = [f"L1,{y},{x},{1 if grid[y, x] == 1 else 7}" for y, x in zip(*np.nonzero(grid), strict=True)]
    return "\n".join(["lot,y,x,bin", *rows]).encode()


def _slope(curve: list[float]) -> float:
    return float(np.polyfit(np.arange(len(curve)), curve, 1)[0]) if len(curve) > 1 else 0.0


def _memory(pid: int, name: str) -> float:
    """Return a figure of a process's memory in MB: VmRSS, what is resident; VmHWM, the most that ever was."""
    text = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in text.splitlines() if line.startswith(f"{name}:"))
    return round(int(line.split()[1]) / 1024, 1)


if __name__ == "__main__":
    main()
