"""A proven bundle that turns input files into records. Needs numpy and ai-edge-litert alone."""

from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from edge.station.inputs import Found, find_maps
from edge.station.records import DEFAULT_POINT, NOTHING_SAID, Record, answered, rejected, said
from wafer_tf.bundle import Bundle
from wafer_tf.decision.points import Point
from wafer_tf.decision.unknown import UNKNOWN_ABOVE
from wafer_tf.errors import InputError
from wafer_tf.formats.options import DEFAULT, Options
from wafer_tf.formats.wafer_map import WaferMap
from wafer_tf.inference.proven import ProvenModel


class Classifier(ProvenModel):
    """A proven model whose answers are records."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        threads: int = 1,
        allow_slow: bool = False,
        point: Point = DEFAULT_POINT,
        unknown_above: float = UNKNOWN_ABOVE,
        options: Options = DEFAULT,
    ) -> None:
        """Load the bundle's model and let it judge the golden maps.

        Args:
            bundle, threads, allow_slow: see `ProvenModel`.
            point: by which wafers are called and decided.
            unknown_above: unknown score above which the decision is "unknown".
            options: how to read what files leave open.

        Raises:
            ModelError: the model is not the one the bundle describes, or does not answer as the gate saw.
        """
        super().__init__(bundle, threads=threads, allow_slow=allow_slow)
        self.point, self.unknown_above, self.options = point, unknown_above, options

    def judge(self, file: bytes | BinaryIO, name: str, *, file_sha256: str | None = None) -> list[Record]:
        """Judge one input file; never raises for bad input.

        Args:
            file: its contents, or the file itself, open in binary and seekable; its format is told by content.
            name: the file's name: the record's id, or the start of it where the file holds many maps.
            file_sha256: of the file, where it is known already.

        Returns:
            One record per map, in order; a map or file that cannot be judged is a record with a reason.
        """
        records = list(self.judge_each(file, name, file_sha256=file_sha256))
        return [record | {"maps": len(records)} for record in records]

    def judge_each(self, file: bytes | BinaryIO, name: str, *, file_sha256: str | None = None) -> Iterator[Record]:
        """Give the records of `judge` one by one; how many there are is not known yet."""
        found = ((name, item) for item in find_maps(file, name, self.options, file_sha256=file_sha256))
        return (record for record, _ in self.judge_found(found))

    def judge_found(self, found: Iterable[tuple[str, Found]]) -> Iterator[tuple[Record, WaferMap | InputError]]:
        """Judge maps that were found, each given with its file's name; give each record with the map it is of."""
        started = perf_counter()
        for file, item in found:
            wafer = item.found
            what = said(wafer, format=item.format, file=file, file_sha256=item.file_sha256, map=item.number)
            if isinstance(wafer, InputError):
                ms = 0.0 if item.sha256 is item.file_sha256 is None else _ms_since(started)
                record = self.reject(item.name, str(wafer), input_sha256=item.sha256, ms=ms, said=what)
            else:
                record = self.answer(item.name, wafer.grid, input_sha256=item.sha256, started=started, said=what)
            yield record, wafer
            started = perf_counter()

    def answer(
        self,
        name: str,
        grid: NDArray[np.uint8],
        *,
        input_sha256: str | None,
        started: float,
        said: dict[str, Any] = NOTHING_SAID,
    ) -> Record:
        """Judge one checked map.

        Args:
            name: the record's id.
            grid: (rows, cols) uint8, checked.
            input_sha256: as the record shall say.
            started: perf_counter() when work on the map began.
            said: what its file says of it, see `records.said`.
        """
        return answered(
            name,
            *self.judgement(grid),
            point=self.point,
            unknown_above=self.unknown_above,
            sets=self.bundle.sets,
            patterns=self.bundle.patterns,
            input_sha256=input_sha256,
            bundle_sha256=self.bundle.sha256,
            ms=_ms_since(started),
            said=said,
        )

    def reject(
        self,
        name: str,
        reason: str,
        *,
        input_sha256: str | None = None,
        ms: float = 0.0,
        said: dict[str, Any] = NOTHING_SAID,
    ) -> Record:
        """Return the record of what cannot be judged."""
        sha256 = self.bundle.sha256
        return rejected(name, reason, input_sha256=input_sha256, bundle_sha256=sha256, ms=ms, said=said)


def _ms_since(started: float) -> float:
    return (perf_counter() - started) * 1e3
