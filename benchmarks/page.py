"""How long a user of the page waits: from a click to the frame that shows the answer, in Chromium.

    python -m benchmarks.page --run runs/resnet18-seed0 [--bundle DIR] [--chromium /usr/bin/chromium] [--out FILE]

Serves the run on a free port. The clock runs in the browser: from the event to the first frame after both the wafer
and its call have changed. Chromium draws without a GPU. On a machine at work, `chrt -r 1` before the command gives
server and browser the processor when they want it, as on an idle one; the result says whether that was so.
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from wafer_tf.command import CommandParser
from wafer_tf.dies import CLASSES

FUNCTIONS = """
window.canvas = () => {
  const hosts = [...document.querySelectorAll("*")].filter((element) => element.shadowRoot);
  return hosts.map((host) => host.shadowRoot.querySelector("canvas")).find((found) => found);
};
window.answered = (isShown) => new Promise((resolve) => {
  const check = () => { if (isShown()) requestAnimationFrame(() => resolve(performance.now())); };
  new MutationObserver(check).observe(document.body, { subtree: true, childList: true, characterData: true });
  new MutationObserver(check).observe(canvas(), { attributes: true });
});
"""
PICK = """async (name) => {
  const says = () => document.querySelector(".about").innerText.endsWith(name);
  const done = answered(() => canvas().dataset.wafer.startsWith(name + " ") && says());
  const started = performance.now();
  [...document.querySelectorAll("button")].find((button) => button.innerText.trim() === name).click();
  return (await done) - started;
}"""
STROKE = """async (turn) => {
  const box = canvas().getBoundingClientRect(), before = canvas().ariaLabel;
  const point = (kind, x, y) => canvas().dispatchEvent(new PointerEvent(kind, {
    clientX: box.x + x * box.width, clientY: box.y + y * box.height, button: 0, pointerId: 1, bubbles: true,
  }));
  canvas().setPointerCapture = () => {};  // there is no real pointer
  point("pointerdown", 0.2 + turn, 0.3);
  point("pointermove", 0.6, 0.5 + turn);
  const done = answered(() => canvas().ariaLabel !== before), started = performance.now();
  point("pointerup", 0.6, 0.5 + turn);
  return (await done) - started;
}"""


def main() -> None:
    p = CommandParser("python -m benchmarks.page", __doc__)
    p.add_argument("--run", type=Path, required=True)
    p.add_argument("--bundle", type=Path)
    p.add_argument("--chromium", default="/usr/bin/chromium")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    with sync_playwright() as player, served(args.run, args.bundle) as (address, _):
        browser = player.chromium.launch(executable_path=args.chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(180_000)
        page.add_init_script(FUNCTIONS)
        started = time.perf_counter()
        page.goto(address)
        page.locator(".call").wait_for()
        loading = time.perf_counter() - started
        rows = [
            _row("a sample", _picks(page)),
            _row("a sample seen before", _picks(page)),
            _row("a stroke on the pad", _strokes(page)),
        ]
        browser.close()
    result = {
        "date": str(date.today()),
        "run": args.run.name,
        "first_page_s": round(loading, 1),
        "ahead_of_other_work": os.sched_getscheduler(0) == os.SCHED_RR,
        "load_average": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "rows": rows,
    }
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


def _picks(page: Page) -> list[float]:
    found = []
    for name in (*CLASSES[4:], *CLASSES[:4]):  # the page opens with one of the last four
        page.wait_for_timeout(700)
        found.append(page.evaluate(PICK, name))
    return found


def _strokes(page: Page) -> list[float]:
    page.get_by_role("radio", name="Draw", exact=True).click()
    page.locator("canvas.paint").wait_for()
    found = []
    for turn in range(10):
        page.wait_for_timeout(700)
        found.append(page.evaluate(STROKE, turn * 0.03))
    return found


def _row(what: str, ms: list[float]) -> dict[str, object]:
    return {"what": what, "times": len(ms), "median_ms": round(statistics.median(ms)), "slowest_ms": round(max(ms))}


@contextmanager
def served(run: Path, bundle: Path | None) -> Iterator[tuple[str, int]]:
    """Serve the page of a run on a free port; give its address and the server's process id."""
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port = taken.getsockname()[1]
    command = [sys.executable, "-m", "app", "--run", str(run), "--port", str(port)]
    command += ["--bundle", str(bundle)] if bundle else []
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            for _ in range(600):
                try:
                    urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=5).close()
                    break
                except urllib.error.URLError:
                    time.sleep(0.2)
            yield f"http://localhost:{port}", server.pid
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main()
