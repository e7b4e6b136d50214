"""The hot folder: judge every wafer map that arrives in a folder, exactly once, whatever happens in between.

What makes it exact is the order: a file is read whole, its maps judged, their lines in OUT, one per map, made durable
if the file is still as it was read, and only then the file is moved within IN. A station killed in between finds the
file in IN and its lines by its hash, writes those that are missing, and moves it. To forget what is on record, move
records.jsonl away: a new one is begun.

A file's lines are written before the next file is judged, and outlive whatever that does to the process; a batch of
them is made durable at once, and with it which files are judged next. A file that ends the station is judged last at
the next start, when all others are durable, and after the third time not read again. Where the machine went down, that
holds for each of the batch that was in hand: they are judged one by one, each when the one before is durable.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from edge.station.hot_folder.bundle_on_disk import BundleOnDisk
from edge.station.hot_folder.claim import Claim
from edge.station.hot_folder.faults import file_place, is_file
from edge.station.hot_folder.in_hand import DEATHS, IN_HAND, InHand
from edge.station.hot_folder.inbox import Inbox, Taken
from edge.station.hot_folder.record_files import Ledger, record_id
from edge.station.hot_folder.status import Status, say
from edge.station.records import OK, Record, rejected, said, to_line
from wafer_tf.errors import InputError, UsageError

BATCH, BATCH_S = 64, 1.0
"""Wafers whose records one fsync makes durable, and the seconds after which fewer will do."""
MAX_MAPS = 10_000
"""Maps a file may hold: all its records are in memory at once."""
_SLICE_S = 0.1
_WRONG_AT_START = (UsageError, FileExistsError, NotADirectoryError, PermissionError)

JudgeFile = Callable[[bytes | BinaryIO, str], Iterable[Record]]


@dataclass(frozen=True)
class _Judged:
    """A file in hand and the records of its maps.

    Attributes:
        records: of all its maps.
        lines: those of them that are to be made durable, each with its line.
        is_duplicate: the name has to go among the duplicates.
    """

    taken: Taken
    records: list[Record]
    lines: list[tuple[Record, str]]
    is_duplicate: bool

    @property
    def reason(self) -> str | None:
        """Why none of its maps could be judged; None where one could."""
        reasons = [None if record["status"] == OK else str(record["reason"]) for record in self.records]
        return None if None in reasons else reasons[0]

    @property
    def unknown(self) -> bool:
        """Whether one of its wafers is unknown."""
        return any(record["decision"] == "unknown" for record in self.records)


class HotFolder:
    """A station at work between two folders.

    Attributes:
        stop: the signal that asked it to stop, None until one does.
    """

    def __init__(
        self,
        inbox: Inbox,
        out: Path,
        judge: JudgeFile,
        *,
        status: Status,
        bundle: BundleOnDisk | None = None,
        prepare: Callable[[bytes | BinaryIO], None] = lambda file: None,
    ) -> None:
        """Touch nothing yet.

        Args:
            inbox, out: files come from the one, lines go into the other.
            judge: see `watch.watch`.
            status: where counts and faults go.
            bundle: looked at between two batches.
            prepare: see `watch.watch`.
        """
        self.stop: int | None = None
        self._inbox, self._out, self._judge, self._bundle = inbox, out, judge, bundle
        self._prepare = prepare
        self._status, self._counts, self._faults = status, status.counts, status.faults
        self._ledger, self._claim, self._in_hand = Ledger(out), Claim(inbox.path, out), InHand(out / IN_HAND)
        self._open = self._was_open = False
        self._unmoved: dict[str, tuple[Taken, str | None, bool]] = {}  # on record, but still in IN
        self._strange: set[str] = set()

    def work(self, *, poll_s: float, once: bool) -> int:
        """Look into IN until `stop` is set or, with `once`, nothing is left to judge; return the exit code."""
        try:
            if self._ready():
                say(f"watching {self._inbox.path}; {len(self._ledger)} wafers on record in {self._out}")
            while self.stop is None:
                idle = not self._look()
                self._tell()
                if once and idle and not self._left():
                    break
                until = time.monotonic() + poll_s
                while self.stop is None and (rest := until - time.monotonic()) > 0:
                    time.sleep(min(rest, _SLICE_S))
            self._tell(last=True)
            self._in_hand.close()
        finally:
            self._ledger.close()
            self._claim.release()
        return InputError.exit_code if once and len(self._faults) else 0

    def _left(self) -> bool:
        """Whether there is something to judge that has not failed."""
        return not {"IN", "OUT"} & set(self._faults.places()) and any(
            name not in self._unmoved and file_place(name) not in self._faults for name in self._inbox
        )

    # === OUT ===

    def _ready(self) -> bool:
        """Whether records can be written, as far as one sees without doing it."""
        if not self._faults.due("OUT"):
            return False
        try:
            if self._open:
                self._claim.check("OUT")
            else:
                self._open_out()
        except (OSError, UsageError) as error:
            if not self._was_open and isinstance(error, _WRONG_AT_START):
                raise
            self._lose_out(error)
        return self._open

    def _open_out(self) -> None:
        if not self._was_open:  # later on, an OUT that is missing is a share that went away
            self._out.mkdir(parents=True, exist_ok=True)
        self._claim.take()
        self._inbox.make_folders()
        mended = self._ledger.open()
        for words in mended:
            say(words)
        if mended:  # records may be among what was set aside
            brought = self._inbox.bring_back(lambda sha256: self._ledger.records_of(sha256) is not None)
            if brought:
                say(f"{len(brought)} files that were put away have no record any more and are judged again")
        if ended := self._in_hand.open():
            say(ended)
        self._open = self._was_open = True

    def _lose_out(self, error: Exception) -> None:
        self._close_out()
        self._status.fail("OUT", error)

    def _close_out(self) -> None:
        self._open = False
        self._in_hand.close()
        self._ledger.close()

    # === IN ===

    def _look(self) -> int:
        """Judge what is whole; return how many files were taken up."""
        self._look_at_bundle()
        if not self._faults.due("IN"):
            return 0
        try:
            names = self._inbox.scan()
            self._claim.check("IN")
        except OSError as error:
            self._claim.release("IN")
            self._close_out()  # so that the folders are claimed anew
            self._status.fail("IN", error)
            return 0
        self._faults.clear("IN")
        self._say_strange()
        self._forget_gone()
        if not self._ready():
            return 0
        if self._unmoved and self._faults.due("moving"):
            self._move(list(self._unmoved))
        self._in_hand.forget_gone(lambda place: self._inbox.stamp(place[0]) == place[1])
        taken_up = self._judge_all(names)
        if self._open:  # and nothing that was to be written failed
            self._faults.clear("OUT")
        return taken_up

    def _judge_all(self, names: list[str]) -> int:
        taken_up = 0
        batch: list[_Judged] = []
        new: dict[str, list[Record]] = {}
        lines = 0
        began = time.monotonic()
        names = sorted(names, key=self._deaths_of)  # what may end the station comes last; else the oldest first
        for at, name in enumerate(names):
            if self.stop is not None or not self._open or "IN" in self._faults:
                break
            if name in self._unmoved or not self._faults.due(file_place(name)):
                continue
            suspect = self._deaths_of(name) > 0
            if suspect and batch:  # finds every other file on record
                self._commit(batch)
                batch, new, lines = [], {}, 0
            judged = self._take_and_judge(name, new, names[at : at + BATCH])
            taken_up += file_place(name) not in self._faults
            if judged is None:
                continue
            batch.append(judged)
            new[judged.taken.sha256] = judged.records
            lines += len(judged.lines)
            # While OUT fails, one wafer is enough to find out that it still does.
            if max(len(batch), lines) >= BATCH or time.monotonic() - began >= BATCH_S or "OUT" in self._faults:
                self._commit(batch)
                batch, new, lines, began = [], {}, 0, time.monotonic()
                self._tell()
                self._look_at_bundle()
        if self._open:
            self._commit(batch)
            self._in_hand.rest()
        return taken_up

    def _take_and_judge(self, name: str, new: dict[str, list[Record]], coming: list[str]) -> _Judged | None:
        """Return a file with its records, which outlive the process; None where it has to wait.

        Args:
            name: one of `Inbox.scan`.
            new: records in hand that are not durable yet, by the SHA-256 of their file.
            coming: the files that come from here on, this one the first.
        """
        try:
            found = self._inbox.take(name, stop=lambda: self.stop is not None)
        except OSError as error:
            self._status.fail(file_place(name), error)
            self._look_for_inbox()
            return None
        if found is None:
            return None
        taken, data = found
        with nullcontext() if isinstance(data, bytes | None) else data:
            try:
                if data is not None:
                    self._prepare(data)
            except Exception as error:  # a fault of the station, as in `_judged`
                self._status.fail(file_place(name), error)
                return None
            try:
                judged = self._judged_in_hand(taken, data, new, coming)
            except OSError as error:
                self._lose_out(error)
                return None
        if judged is not None:
            self._faults.clear(file_place(name))
        return judged

    def _judged_in_hand(
        self, taken: Taken, data: bytes | BinaryIO | None, new: dict[str, list[Record]], coming: list[str]
    ) -> _Judged | None:
        """Judge a file while it is noted as in hand, and write its lines before it no longer is. Raises OSError."""
        if not self._in_hand.expects(taken.name, taken.stamp):
            suspect = self._deaths_of(taken.name) > 0  # read alone
            after = [name for name in coming[1:] if not suspect and not self._deaths_of(name)]
            self._in_hand.expect([(name, self._inbox.stamp(name)) for name in (taken.name, *after)])
        self._in_hand.take(taken.name, taken.stamp)
        judged = self._judged(taken, data, new)
        if judged is not None:
            self._ledger.draft_records([line for _, line in judged.lines])
        self._in_hand.drop()
        return judged

    def _judged(self, taken: Taken, data: bytes | BinaryIO | None, new: dict[str, list[Record]]) -> _Judged | None:
        id = record_id(taken.name)
        try:
            known = new.get(taken.sha256) or self._ledger.records_of(taken.sha256)
        except OSError as error:
            self._lose_out(error)
            return None
        if known is not None:
            is_duplicate = _first_id(known) != id and not self._ledger.is_duplicate(id, taken.sha256)
            return _Judged(taken, known, lines=[], is_duplicate=is_duplicate)
        try:
            records = self._records(id, taken, data)
            lines = [(record, to_line(record)) for record in records if not self._ledger.is_on_record(record)]
        except Exception as error:  # a fault of the station, not of the map: that waits for the next try
            self._status.fail(file_place(taken.name), error)
            return None
        return _Judged(taken, records, lines=lines, is_duplicate=False)

    def _records(self, id: str, taken: Taken, data: bytes | BinaryIO | None) -> list[Record]:
        def refused(reason: str) -> list[Record]:
            what = said(None, format=None, file=id, file_sha256=taken.sha256, maps=1)
            sha256 = self._counts.bundle_sha256
            return [rejected(id, reason, input_sha256=taken.sha256, bundle_sha256=sha256, said=what)]

        if self._in_hand.deaths(taken.name, taken.stamp) >= DEATHS:
            return refused(f"it ended the station {DEATHS} times while it was read; it is not read again")
        if data is None:
            return refused(f"{taken.stamp[0]} bytes; expected a file of at most {self._inbox.max_bytes} bytes")
        records = list(islice(self._judge(data, id), MAX_MAPS + 1))
        if not records:
            return refused("no map")
        if len(records) > MAX_MAPS:
            return refused(f"over {MAX_MAPS} maps; expected a file of at most that. Judge it by edge.classify")
        own = {"file": id} | ({"id": id, "input_sha256": taken.sha256} if len(records) == 1 else {})
        return [
            record | own | {"file_sha256": taken.sha256, "map": number, "maps": len(records)}
            for number, record in enumerate(records, 1)
        ]

    def _commit(self, batch: list[_Judged]) -> None:
        """Make the lines of a batch durable, then move its files; leave out what has changed since it was read."""
        batch = self._still_there(batch)
        new = [line for judged in batch for line in judged.lines]
        duplicates = [(record_id(j.taken.name), j.taken.sha256, _first_id(j.records)) for j in batch if j.is_duplicate]
        known = sum(not judged.lines for judged in batch)
        try:
            self._ledger.add_records(new)
            for record, _ in new:
                self._counts.record(record)
            self._ledger.add_duplicates(duplicates)
        except OSError as error:
            self._lose_out(error)
            return
        if new or duplicates:
            self._faults.clear("OUT")
        self._counts.duplicates += len(duplicates)
        self._counts.known += known - len(duplicates)
        for judged in batch:
            self._in_hand.forget(judged.taken.name, judged.taken.stamp)
        self._unmoved |= {judged.taken.name: (judged.taken, judged.reason, judged.unknown) for judged in batch}
        self._move([judged.taken.name for judged in batch])

    def _still_there(self, batch: list[_Judged]) -> list[_Judged]:
        """Return the files that are still as they were read, without copies of others that no record would be of."""
        same = [judged for judged in batch if self._inbox.unchanged(judged.taken)]
        written = {judged.taken.sha256 for judged in same if judged.lines}
        return [
            judged
            for judged in same
            if judged.taken.sha256 in written or all(map(self._ledger.is_on_record, judged.records))
        ]

    def _move(self, names: list[str]) -> None:
        """Move files that are on record out of the way; what cannot be moved now does not keep the others."""
        failed = None
        for name in names:
            try:
                taken, reason, unknown = self._unmoved[name]
                self._inbox.put_away(taken, reason, unknown=unknown)
                del self._unmoved[name]
            except OSError as error:
                failed = error
        if failed:
            self._status.fail("moving", failed)
        elif not self._unmoved:
            self._faults.clear("moving")

    def _deaths_of(self, name: str) -> int:
        return self._in_hand.deaths(name, self._inbox.stamp(name))

    def _look_at_bundle(self) -> None:
        if self._bundle is not None:
            self._bundle.look(self._status)

    def _look_for_inbox(self) -> None:
        try:
            self._inbox.path.stat()
        except OSError as error:
            self._status.fail("IN", error)

    # === Words ===

    def _say_strange(self) -> None:
        """Say once what lies in IN and is no file."""
        seen = set(self._inbox.strange)
        fresh = sorted(seen - self._strange)
        if fresh:
            named = ", ".join(f"{name!r} ({self._inbox.strange[name]})" for name in fresh[:5])
            more = f" and {len(fresh) - 5} more" if len(fresh) > 5 else ""
            say(f"left alone in {self._inbox.path}: {named}{more}")
        self._strange = seen

    def _forget_gone(self) -> None:
        """Drop the faults of files that somebody took away."""
        failing = {place for place in self._faults.places() if is_file(place)}
        if failing:
            for place in failing - {file_place(name) for name in self._inbox}:
                self._faults.forget(place)

    def _tell(self, *, last: bool = False) -> None:
        waiting = len(self._inbox) - sum(name in self._inbox for name in self._unmoved)
        self._status.tell(waiting, last=last)


def _first_id(records: list[Record]) -> str:
    """Return the record id of the file of these records, as it was called when they were written."""
    return str(records[0].get("file") or records[0]["id"])  # an old record is of one map, named as its file
