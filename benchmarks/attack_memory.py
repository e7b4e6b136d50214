"""How much memory each script of attacks takes: those of docs/explanation/attacks.md, run once.

    python -m benchmarks.attack_memory [--only WORD] [--out benchmarks/attack_memory.json]

The peak is that of the largest single process, the script itself or one it started, with as many inputs as SCRIPTS
says. This program is kept small, without numpy, since the system counts a child's memory from before it becomes another
program.
"""

import json
import os
import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from wafer_tf.command import CommandParser

ROOT = Path(__file__).parents[1]
MAPS = "../shared/data/wm811k/wm811k_dev.npz"
BUNDLES = ("models/nano/bundle", "models/wafer/bundle")
SCRIPTS = {
    "corrupt_bundles": (*BUNDLES, "--count", "100"),
    "hot_folder_kills": (BUNDLES[0], "--formats", "200", "--kills", "5"),
    "hot_folder_kills --poison": (BUNDLES[0], "--formats", "200", "--kills", "5", "--poison", "3"),
    "mutated_inputs": (MAPS, BUNDLES[0], "--count", "5000"),
    "mutated_files": ("--count", "5000"),
}
"""Scripts by their names, with their arguments. page_session and fuzz_readers take their own peaks."""


def main() -> None:
    p = CommandParser("python -m benchmarks.attack_memory", __doc__)
    p.add_argument("--only", metavar="WORD", default="", help="scripts with that word alone")
    p.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = p.parse_args()
    there = json.loads(args.out.read_text())["rows"] if args.out.exists() else []
    rows = {row["attack"]: row for row in there}
    os.chdir(ROOT)
    for attack, arguments in SCRIPTS.items():
        if args.only in attack:
            command = ["-m", f"benchmarks.{attack.split()[0]}", *arguments]
            rows[attack] = {"attack": attack, "command": " ".join(command)} | run(command)
            print(rows[attack], file=sys.stderr)
            result = {"date": str(date.today()), "python": platform.python_version(), "rows": list(rows.values())}
            args.out.write_text(json.dumps(result, indent=1) + "\n")


def run(command: list[str]) -> dict[str, float]:
    """Run Python once; return its exit code, seconds, and the peak of its largest process in MB."""
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "said").open("w+") as said:
        began = time.monotonic()
        actions = [(os.POSIX_SPAWN_DUP2, said.fileno(), 1), (os.POSIX_SPAWN_DUP2, said.fileno(), 2)]
        whole = [sys.executable, *command, "--out", f"{folder}/out.json"]
        pid = os.posix_spawn(sys.executable, whole, os.environ, file_actions=actions)
        _, status, used = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code:
            said.seek(0)
            print(said.read()[-2000:], file=sys.stderr)
    seconds = round(time.monotonic() - began)
    return {"exit_code": code, "seconds": seconds, "peak_mb": round(used.ru_maxrss / 1024)}


if __name__ == "__main__":
    main()
