"""What a station has done since it started: a line for people, Prometheus text for machines. Standard library alone.

The text is for node-exporter's textfile collector or any reader of the exposition format. Counters begin at zero with
the process, as Prometheus expects (`rate` and `increase` see a restart); what was done before it started is in
records.jsonl.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from time import time

from edge.station.records import OK, Record
from wafer_tf.dies import CLASSES

BUCKETS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Upper bounds of the histogram of judging times."""
DECISIONS = ("none", "defect", "review", "unknown")
ERRORS = ("in", "out", "file", "moving", "metrics", "bundle")
"""What can fail: reading IN, writing OUT, one file, moving files, writing the metrics, taking a new bundle."""


class Counts:
    """Counts of one process."""

    def __init__(self, bundle_sha256: str) -> None:
        self.bundle_sha256, self.started = bundle_sha256, time()
        self.wafers: Counter[tuple[str, str]] = Counter()
        self.rejected = self.duplicates = self.known = self.bundle_reloads = self.several = 0
        self.bundle_replaced = False
        self.errors: Counter[str] = Counter()
        self.last_record: float | None = None
        self._buckets, self._sum_ms = [0] * (len(BUCKETS_MS) + 1), 0.0
        self._recent_ms: list[float] = []

    def record(self, record: Record) -> None:
        """Count a record that is durable."""
        self.last_record = time()
        if record["status"] == OK:
            self.wafers[record["label"], record["decision"]] += 1
            self.several += bool(record.get("patterns"))
        else:
            self.rejected += 1
        self._buckets[bisect_left(BUCKETS_MS, record["ms"])] += 1
        self._sum_ms += record["ms"]
        self._recent_ms.append(record["ms"])

    def line(self, *, waiting: int) -> str:
        """Return the counts for people; the median is of the records since the last line."""
        ok = self.wafers.total()
        classes: Counter[str] = Counter()
        for (label, _), n in self.wafers.items():
            classes[label] += n
        words = [
            f"{ok + self.rejected + self.duplicates + self.known} seen: {ok} ok, {self.rejected} rejected, "
            f"{self.duplicates} duplicates, {self.known} recorded before",
            ", ".join(f"{label} {classes[label]}" for label in CLASSES if classes[label]),
            f"{self.several} of several patterns" if self.several else "",
            f"{waiting} waiting",
            f"median {sorted(self._recent_ms)[len(self._recent_ms) // 2]:.1f} ms" if self._recent_ms else "",
        ]
        self._recent_ms = []
        return "; ".join(filter(None, words))

    def text(self, *, waiting: int, faults: Sequence[str]) -> str:
        """Return the counts in Prometheus' text format.

        Args:
            waiting: files in IN that have no record yet.
            faults: those of ERRORS that fail now.
        """
        total = sum(self._buckets)
        cumulative = [sum(self._buckets[: i + 1]) for i in range(len(BUCKETS_MS))]
        histogram: list[tuple[str, float]] = [
            (f'_bucket{{le="{bound / 1000:g}"}}', n) for bound, n in zip(BUCKETS_MS, cumulative, strict=True)
        ]
        histogram += [('_bucket{le="+Inf"}', total), ("_sum", round(self._sum_ms / 1000, 6)), ("_count", total)]
        wafers = [
            (f'{{label="{label}",decision="{decision}"}}', self.wafers[label, decision])
            for label in CLASSES
            for decision in DECISIONS
        ]
        return "".join(
            (
                _family("info", "gauge", "The bundle that judges.", [(f'{{bundle_sha256="{self.bundle_sha256}"}}', 1)]),
                _family(
                    "bundle_replaced",
                    "gauge",
                    "1 while another bundle lies on disk than the one that judges.",
                    [("", int(self.bundle_replaced))],
                ),
                _family("bundle_reloads_total", "counter", "New bundles taken.", [("", self.bundle_reloads)]),
                _family("start_time_seconds", "gauge", "When the station started.", [("", round(self.started, 3))]),
                _family("wafers_total", "counter", "Wafers judged.", wafers),
                _family("several_patterns_total", "counter", "Wafers of several patterns.", [("", self.several)]),
                _family("rejected_total", "counter", "Files that could not be judged.", [("", self.rejected)]),
                _family("duplicates_total", "counter", "Files with contents on record.", [("", self.duplicates)]),
                _family("known_total", "counter", "Files on record by name and contents.", [("", self.known)]),
                _family(
                    "errors_total", "counter", "Failed tries.", [(f'{{kind="{k}"}}', self.errors[k]) for k in ERRORS]
                ),
                _family("fault", "gauge", "1 while it fails.", [(f'{{kind="{k}"}}', int(k in faults)) for k in ERRORS]),
                _family("queue_wafers", "gauge", "Files that wait in IN.", [("", waiting)]),
                _family(
                    "last_record_timestamp_seconds",
                    "gauge",
                    "When the last record was written.",
                    [("", round(self.last_record, 3))] if self.last_record else [],
                ),
                _family("judge_seconds", "histogram", "Time from a map's bytes to its record.", histogram),
            )
        )


def _family(name: str, kind: str, help_text: str, samples: Iterable[tuple[str, float]]) -> str:
    name = f"wafer_tf_{name}"
    lines = [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", *(f"{name}{rest} {n}" for rest, n in samples)]
    return "\n".join(lines) + "\n"
