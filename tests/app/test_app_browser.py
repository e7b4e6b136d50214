"""The page in a real browser, as an inspector uses it, start to end: one server, one visit."""

import csv
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright

from app.wafer import round_wafer
from tests import ROOT
from tests.station import npy, wafer_set
from wafer_tf.dies import CLASSES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WAIT_MS = 180_000
"""Machines are shared and slow; nothing here is about speed."""
MIN_CONTRAST = 4.5
"""WCAG 2.2, level AA, text of ordinary size."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")


@pytest.fixture(scope="module")
def address(small_run: Path, bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `python -m app` serves the page of a small run; no upload may be left on its disk."""
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port = taken.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    environment = os.environ | {"HOME": str(home), "TMPDIR": str(home)}
    command = [sys.executable, "-m", "app", "--run", str(small_run), "--bundle", str(bundle_path), "--port", str(port)]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for(f"http://localhost:{port}/_stcore/health", server, home / "log")
        yield f"http://localhost:{port}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    assert "Traceback" not in (home / "log").read_text(encoding="utf-8")
    left = {path.name for path in home.rglob("*") if path.is_file()} - {"log", "keras.json"}
    assert all(name.startswith("fontlist") for name in left), left  # matplotlib's; nothing of the page's own


def wait_for(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        assert server.poll() is None, log.read_text(encoding="utf-8")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.URLError:
            time.sleep(0.2)
    pytest.fail(f"no server after two minutes: {log.read_text(encoding='utf-8')}")


class Visit:
    """A page that is open, and what went wrong on it or left the machine."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        page.set_default_timeout(WAIT_MS)
        expect.set_options(timeout=WAIT_MS)
        page.on("console", lambda said: said.type in ("error", "warning") and self.complaints.append(said.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self._note(request.url))
        page.on("websocket", lambda socket: self._note(socket.url))

    def _note(self, url: str) -> None:
        if urlsplit(url).scheme not in ("data", "blob"):  # made by the page itself
            self.hosts.add(urlsplit(url).netloc)

    def settle(self) -> None:
        """Wait until the page's program has run and what it replaces is gone: for a while there are two canvases."""
        expect(self.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        expect(self.page.locator("canvas[data-wafer]")).to_have_count(1)
        expect(self.page.locator("[data-stale=true]")).to_have_count(0)

    @property
    def wafer(self) -> Locator:
        """The one wafer shown, when the page has settled."""
        self.settle()
        return self.page.locator("canvas[data-wafer]")

    def view(self, name: str) -> None:
        self.page.get_by_role("radio", name=name, exact=True).click()

    def pick(self, name: str) -> None:
        self.page.get_by_role("radio", name=name, exact=True).click()

    def shows(self, wafer: str) -> None:
        expect(self.page.locator(f'canvas[data-wafer="{wafer}"]')).to_have_count(1)
        self.settle()

    def labelled(self, words: str) -> None:
        """Wait until the wafer's label holds the words."""
        expect(self.page.locator(f'canvas[aria-label*="{words}"]')).to_have_count(1)
        self.settle()

    def says(self, words: str) -> None:
        self.page.get_by_text(words).first.wait_for()

    def upload(self, *files: tuple[str, bytes]) -> None:
        payload: Any = [{"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files]
        self.page.locator("input[type=file]").set_input_files(payload)

    def stroke(self, *places: tuple[float, float]) -> None:
        """Drag over the wafer; places are shares of its width and height."""
        wafer = self.wafer
        wafer.scroll_into_view_if_needed()
        box = wafer.bounding_box()
        assert box is not None
        for number, (x, y) in enumerate(places):
            self.page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
            if number == 0:
                self.page.mouse.down()
        self.page.mouse.up()

    def faint_text(self) -> list[str]:
        """Return the visible texts whose contrast with what is behind them is below MIN_CONTRAST."""
        expect(self.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        found: list[str] = self.page.evaluate(FAINT, MIN_CONTRAST)
        return found


FAINT = """(least) => {
  const parse = (text) => { const n = text.match(/[\\d.]+/g).map(Number); return [n[0], n[1], n[2], n[3] ?? 1]; };
  const over = (top, under) => under.map((value, k) => top[k] * top[3] + value * (1 - top[3]));
  const light = (rgb) => {
    const [r, g, b] = rgb.map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const up = (element) => element.parentElement ?? element.getRootNode().host;
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = up(e)) layers.unshift(parse(getComputedStyle(e).backgroundColor));
    return layers.reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const faint = [];
  const look = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.shadowRoot) look(element.shadowRoot);
      const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
      if (!own || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
      // A slider's value stands beside the thumb in which it is nested; a table is a picture with hidden text.
      if (element.closest("style, script, [data-testid=stSliderThumbValue], [data-testid=stDataFrame]")) continue;
      const ground = behind(element), ink = over(parse(getComputedStyle(element).color), ground);
      const [bright, dark] = [light(ground), light(ink)].sort((a, b) => b - a);
      const contrast = (bright + 0.05) / (dark + 0.05);
      if (contrast < least) faint.push(`${element.textContent.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
    }
  };
  look(document.body);
  return faint;
}"""


def test_an_inspector_can_look_upload_compare_paint_and_download(address: str, tmp_path: Path) -> None:
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            visit = Visit(browser.new_page(viewport={"width": 1280, "height": 800}), address)
            visit.page.goto(address)
            look_at_samples(visit)
            look_at_own_maps(visit, tmp_path)
            paint(visit)
            read_report(visit)
            fit_a_telephone(visit)
        finally:
            browser.close()
    assert visit.complaints == []
    assert visit.hosts == {urlsplit(address).netloc}


def test_the_server_sends_its_headers_and_answers_no_other_name(address: str) -> None:
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    request = urllib.request.Request(address, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request, timeout=60)


def look_at_samples(visit: Visit) -> None:
    page = visit.page
    visit.shows("Edge-Loc 1")
    expect(page.locator(".bars tr")).to_have_count(len(CLASSES) + 1)
    assert visit.faint_text() == []

    visit.pick("Center")
    visit.shows("Center 1")
    visit.says("Synthetic sample 1, drawn as Center")
    visit.pick("7")
    visit.shows("Center 7")

    visit.wafer.hover()
    tip = page.locator(".tip")
    expect(tip).to_contain_text("heat")
    expect(tip).to_have_text(re.compile("^row "))

    switch = page.get_by_text("Show where the call comes from")
    switch.click()
    expect(page.locator('canvas[data-heat="none"]')).to_have_count(1)
    expect(page.get_by_text("speaks for the call")).to_be_hidden()
    visit.settle()
    switch.click()
    expect(page.locator('canvas[data-heat="shown"]')).to_have_count(1)


def look_at_own_maps(visit: Visit, folder: Path) -> None:
    page = visit.page
    visit.view("Your maps")
    visit.says("Nothing uploaded is kept")
    visit.upload(("good.npy", npy(round_wafer(30))))
    visit.shows("good.npy")
    page.get_by_text("Reading files: what a file does not say").click()
    page.get_by_text("What the file says", exact=True).click()
    expect(page.locator(".facts")).to_contain_text("30 rows x 30 columns")
    page.get_by_role("textbox", name="Values for no die, pass, fail").fill("0,2,1")
    page.get_by_role("textbox", name="Values for no die, pass, fail").press("Enter")
    visit.labelled("of 716 dies fail")
    assert visit.faint_text() == []
    page.get_by_role("textbox", name="Values for no die, pass, fail").fill("")
    page.get_by_role("textbox", name="Values for no die, pass, fail").press("Enter")
    visit.labelled(", 0 of")

    visit.upload(("bad.csv", b"lot,wafer\n1,2\n"))
    visit.says("1 was not judged")
    visit.says("'lot' at row 0, column 0")
    visit.shows("good.npy")  # it stays beside the bad one

    grids = [round_wafer(side) for side in (20, 26)]
    lures = wafer_set([round_wafer(12)], lot=np.array(["![x](http://example.invalid/x.png)"]))
    visit.upload(("set.npz", wafer_set(grids)), ("lures.npz", lures))
    visit.says("4 wafers")
    page.get_by_label("Name contains").fill("L7/")
    page.get_by_label("Name contains").press("Enter")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download the table as CSV (2)").click()
    started.value.save_as(folder / "wafers.csv")
    rows = list(csv.DictReader(io.StringIO((folder / "wafers.csv").read_text(encoding="utf-8"))))
    assert [row["wafer"] for row in rows] == ["L7/1", "L7/2"]
    assert [int(row["dies"]) for row in rows] == [int(np.count_nonzero(grid)) for grid in grids]
    assert {row["call"] for row in rows} <= set(CLASSES)
    assert visit.faint_text() == []


def paint(visit: Visit) -> None:
    page = visit.page
    visit.view("Draw")
    visit.pick("spotless, 26 across")
    visit.shows("drawn on spotless, 26 across")
    before = page.locator(".bars").inner_text()
    visit.stroke((0.2, 0.5), (0.8, 0.5))
    visit.labelled("16 of")
    expect(page.locator(".bars")).not_to_have_text(before, use_inner_text=True)

    page.get_by_role("button", name="Pass", exact=True).click()
    visit.stroke((0.2, 0.5), (0.5, 0.5))
    visit.labelled(" 7 of")
    page.get_by_role("button", name="Undo").click()
    visit.labelled("16 of")
    page.get_by_role("button", name="Clear").click()
    visit.labelled(", 0 of")

    page.get_by_role("button", name="Fail", exact=True).click()
    visit.wafer.focus()
    for key in ("ArrowUp", "Space"):
        page.keyboard.press(key)
    visit.labelled(", 1 of")
    assert visit.faint_text() == []


def read_report(visit: Visit) -> None:
    visit.view("Report")
    visit.says("macro-F1")
    visit.page.locator("img[src*='/media/']").first.wait_for()
    visit.page.get_by_text("Model card", exact=True).click()
    visit.says("Intended use")
    assert visit.faint_text() == []


def fit_a_telephone(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 390, "height": 844})
    visit.view("Samples")
    visit.shows("Center 7")
    page.locator(".call").wait_for()
    page.wait_for_function("document.documentElement.scrollWidth <= 390")
    wafer, call = visit.wafer.bounding_box(), page.locator(".call").bounding_box()
    assert wafer is not None
    assert call is not None
    assert wafer["x"] >= 0
    assert wafer["x"] + wafer["width"] <= 390
    assert call["y"] + call["height"] <= 844  # wafer and call are on the first screen
    assert visit.faint_text() == []
