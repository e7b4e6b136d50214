"""Kill the station at random moments of its work in a folder, and look each time that no wafer was lost or doubled.

    python -m benchmarks.hot_folder_kills BUNDLE --formats 200 --out benchmarks/hot_folder_kills.json
    python -m benchmarks.hot_folder_kills BUNDLE --formats 200 --poison 3 --out benchmarks/hot_folder_kills.json

A round is a folder of 1,000 different synthetic maps, 20 files that cannot be judged and 20 copies under other names,
and with --formats so many files of tools' formats, of which six in sixteen hold four wafers.
The station starts, is killed with SIGKILL at a random moment, and starts again, until nothing is left in the folder;
then the next round begins, until there have been 200 kills. After every kill and at the end of every round `audit`
compares the folder and the records with what was put there. The result is in hot_folder_kills.json.

With --poison so many files of each of three kinds are among them: such as kill the station when they are opened, such
as kill its reader, and such as take 2 GiB. All of them have to be on record in quarantine at the end, and no file that
is well. Deaths by such a file are counted beside the kills; the result stands in the same file, as with_poison.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.hot_folder_files import grids_as_npy, of_every_format
from benchmarks.poisoned_station import poison
from edge.station.hot_folder.inbox import DONE, QUARANTINE
from edge.station.hot_folder.sealed import unsealed
from edge.station.records import KEYS
from wafer_tf.command import CommandParser

ROOT = Path(__file__).parents[1]
POLL_S, SETTLE_S = 0.05, 0.1
STATION, POISONED = "edge.station", "benchmarks.poisoned_station"


def audit(
    inbox: Path,
    out: Path,
    sent: Mapping[str, bytes],
    maps: Mapping[str, int] | None = None,
    *,
    unknown_to: Path | None = None,
) -> dict[str, int]:
    """Compare what was put into a folder with what a station, killed or not, made of it.

    Args:
        inbox, out: the station's folders; it must not be running.
        sent: every file's name and contents; copies of the same contents count as files of their own.
        maps: how many maps a file holds, where it is not one.
        unknown_to: as the station was told.

    Returns:
        on_record: files with a record for each of their maps, one that says why the file was not read, or a line among
            the duplicates.
        waiting: files in IN without, of which some maps may be on record.
        partly: those of them of which some are.
        unmoved: files in IN with one: killed between the two.
        lost: files that are neither on record and in their place nor in IN as they were sent.
        duplicated: lines that say again what another has said.
        invalid: whole lines that are not what they should be.
        torn: last lines without an end, which the next start sets aside.
    """
    keys = ("on_record", "waiting", "partly", "unmoved", "lost", "duplicated", "invalid", "torn")
    found = Counter(dict.fromkeys(keys, 0))
    sha256 = {name: hashlib.sha256(contents).hexdigest() for name, contents in sent.items()}
    place: dict[str, Path] = {}  # SHA-256: where the file goes
    unknown = unknown_to or inbox / DONE
    recorded: Counter[tuple[str, int]] = Counter()  # by contents and map
    refused: set[str] = set()
    said: dict[str, Counter[int]] = {}  # by name; map 0 is a line among the duplicates
    for line in _whole_lines(out / "records.jsonl", found):
        try:
            record, _ = unsealed(line.encode())
            if tuple(record) != KEYS or sha256[record["file"]] != record["file_sha256"]:
                raise ValueError("not of that file")
            unread = record["status"] != "ok" and record["map"] == record["maps"] == 1  # the file, not its first map
            if not unread and not 1 <= record["map"] <= record["maps"] == (maps or {}).get(record["file"], 1):
                raise ValueError("not of that map")
        except (ValueError, KeyError):
            found["invalid"] += 1
            continue
        said.setdefault(record["file"], Counter())[record["map"]] += 1
        if unread:
            refused.add(record["file"])
        recorded[record["file_sha256"], record["map"]] += 1
        if record["status"] != "ok":
            place.setdefault(record["file_sha256"], inbox / QUARANTINE)
        elif place.get(record["file_sha256"]) != unknown:
            place[record["file_sha256"]] = unknown if record["decision"] == "unknown" else inbox / DONE
    for line in _whole_lines(out / "duplicates.jsonl", found):
        try:
            entry, _ = unsealed(line.encode())
            if sha256[entry["id"]] != entry["input_sha256"] or sha256[entry["first_id"]] != entry["input_sha256"]:
                raise ValueError("not of that file")
        except (ValueError, KeyError, TypeError):
            found["invalid"] += 1
            continue
        said.setdefault(entry["id"], Counter())[0] += 1
    found["duplicated"] += sum(n - 1 for n in recorded.values())
    found["duplicated"] += sum(lines.total() - len(lines) + (0 in lines and len(lines) > 1) for lines in said.values())
    for name, contents in sent.items():
        of_maps = 1 if name in refused else (maps or {}).get(name, 1)
        on_record = 0 in said.get(name, ()) or len(said.get(name, ())) == of_maps
        found["on_record"] += on_record
        if _holds(inbox / name, contents):
            found["unmoved" if on_record else "waiting"] += 1
            found["partly"] += name in said and not on_record
        elif not on_record or not _holds(place[sha256[name]] / name, contents):
            found["lost"] += 1
    return dict(found)


def _whole_lines(path: Path, found: Counter[str]) -> list[str]:
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
        found["torn"] += 1
    return lines


def _holds(path: Path, contents: bytes) -> bool:
    return path.exists() and path.read_bytes() == contents


def _start(inbox: Path, out: Path, bundle: Path, *flags: str, module: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", module, "watch", inbox, "--out", out, "--bundle", bundle, *flags]
    command += ["--poll", str(POLL_S), "--settle", str(SETTLE_S)]
    return subprocess.Popen(list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, text=True)


def _kill_at_random(inbox: Path, out: Path, bundle: Path, *, within_s: float, rng: random.Random, module: str) -> bool:
    """Start a station and kill it: one in five as it starts, the others within some seconds of watching.

    Returns:
        Whether it was killed here; False where a file of `poisoned_station` did.
    """
    station = _start(inbox, out, bundle, module=module)
    assert station.stderr is not None
    if rng.random() < 0.2:
        time.sleep(rng.uniform(0, 1))
    else:
        said = ""
        while "watching" not in said:  # LiteRT may say something before
            line = station.stderr.readline()
            if not line and station.wait() == -signal.SIGKILL and module == POISONED:
                return False
            if not line:
                raise RuntimeError(f"the station did not begin: {said}")
            said += line
        time.sleep(rng.uniform(0, within_s))
    code = station.poll()
    station.kill()
    said = station.communicate()[1]
    if code is not None and not (code == -signal.SIGKILL and module == POISONED):
        raise RuntimeError(f"the station ended by itself: {said}")
    return code is None


def _finish(inbox: Path, out: Path, bundle: Path, *, module: str) -> int:
    """Let stations judge what is left; return how many a file of `poisoned_station` ended."""
    for deaths in range(1000):
        last = _start(inbox, out, bundle, "--once", module=module)
        said = last.communicate()[1]
        if last.returncode == 0:
            return deaths
        if not (last.returncode == -signal.SIGKILL and module == POISONED):
            raise RuntimeError(said)
    raise RuntimeError("a file ended the station 1,000 times")


def _in_quarantine(inbox: Path, files: Mapping[str, bytes]) -> dict[str, int]:
    """Count the deadly files in quarantine, and the files there that are well."""
    there = {path.name for path in (inbox / QUARANTINE).iterdir()} & set(files)
    bad = {name for name in files if name.startswith("bad-")}
    deadly = {name for name in files if name.startswith("poison-")}
    return {"deadly_in_quarantine": len(there & deadly), "well_in_quarantine": len(there - bad - deadly)}


def main() -> int:
    parser = CommandParser("python -m benchmarks.hot_folder_kills", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--maps", type=int, default=1000)
    parser.add_argument("--formats", metavar="N", type=int, default=0, help="files of tools' formats among them")
    parser.add_argument("--poison", metavar="N", type=int, default=0, help="deadly files of each kind among them")
    parser.add_argument(
        "--within", metavar="S", type=float, default=1.0, help="a kill comes 0 to S seconds after the start"
    )
    parser.add_argument("--out", type=Path, help="write the result there as JSON too")
    args = parser.parse_args()
    rng = random.Random(0)
    bundle = args.bundle.resolve()
    ends: list[dict[str, int]] = []
    worst: Counter[str] = Counter()
    kills = during = deaths = 0
    module = POISONED if args.poison else STATION
    began = time.perf_counter()
    while kills < args.kills:
        files, maps = of_every_format(args.formats, seed=len(ends) + 1_000_000)
        files |= grids_as_npy(args.maps, seed=len(ends)) | poison(args.poison)
        wafers = len(set(files.values())) + sum(held - 1 for held in maps.values())
        with tempfile.TemporaryDirectory() as folder:
            inbox, out = Path(folder) / "in", Path(folder) / "out"
            inbox.mkdir()
            for name in rng.sample(sorted(files), len(files)):  # the station takes the oldest first
                (inbox / name).write_bytes(files[name])
            before = 0
            while kills < args.kills:
                killed = _kill_at_random(inbox, out, bundle, within_s=args.within, rng=rng, module=module)
                kills += killed
                deaths += not killed
                found = audit(inbox, out, files, maps)
                worst |= Counter({k: found[k] for k in ("lost", "duplicated", "invalid")})
                worst += Counter(
                    {
                        "kills_with_unmoved_files": found["unmoved"] > 0,
                        "kills_with_a_torn_line": found["torn"],
                        "kills_within_a_file": found["partly"] > 0,
                    }
                )
                during += found["on_record"] > before and found["waiting"] > 0
                before = found["on_record"]
                if found["waiting"] == found["unmoved"] == 0:
                    break
            deaths += _finish(inbox, out, bundle, module=module)
            records = len((out / "records.jsonl").read_text().splitlines())
            ends.append(audit(inbox, out, files, maps) | {"records": records, "wafers": wafers})
            ends[-1] |= _in_quarantine(inbox, files)
            print(f"round {len(ends)}: {kills} kills so far; {ends[-1]}", file=sys.stderr)
    result: dict[str, Any] = {
        "bundle_sha256": hashlib.sha256((bundle / "bundle.json").read_bytes()).hexdigest(),
        "kills": kills,
        "rounds": len(ends),
        "files_per_round": len(files),
        "of_tools_formats": len(maps),
        "deadly_files_per_round": 3 * args.poison,
        "deaths_by_a_deadly_file": deaths,
        "kills_while_it_was_judging": during,
        "kills_with_files_on_record_but_not_moved": worst["kills_with_unmoved_files"],
        "kills_with_a_torn_last_line": worst["kills_with_a_torn_line"],
        "kills_with_a_file_of_which_some_maps_were_on_record": worst["kills_within_a_file"],
        "at_worst_after_a_kill": {k: worst[k] for k in ("lost", "duplicated", "invalid")},
        "at_the_end_of_each_round": ends,
        "seconds": round(time.perf_counter() - began),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if args.out:
        there = json.loads(args.out.read_text()) if args.out.exists() else {}
        plain = {key: value for key, value in there.items() if key != "with_poison"} if args.poison else result
        poisoned = result if args.poison else there.get("with_poison")
        args.out.write_text(json.dumps(plain | ({"with_poison": poisoned} if poisoned else {}), indent=2) + "\n")
    whole = all(
        end["records"] == end["wafers"]
        and end["on_record"] == len(files)
        and end["deadly_in_quarantine"] == 3 * args.poison
        and end["well_in_quarantine"] == 0
        for end in ends
    )
    return 0 if whole and not any(result["at_worst_after_a_kill"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
