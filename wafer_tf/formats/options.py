"""What a user says of files that do not say it themselves. Needs the standard library alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wafer_tf.errors import InputError

Retest = Literal["last", "first", "best"]
YAxis = Literal["down", "up"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to read what a file leaves open; each field but `part` is a flag of the commands, `--pass-bins` and so on.

    Attributes:
        pass_bins: bins that pass, instead of the file's own word or bin 1; None: as the file says.
        orient: where the notch is in the file's picture, in degrees clockwise from down (0, 90, 180, 270); None: as
            the file says, else down.
        y_axis: which way y grows in a list of dies that does not say; None: down, and said so.
        retest: which result of a die counts where it was tested more than once.
        states: the file's values for no die, pass and fail, in this order, each "" where there is none; None: as they
            are in a map, 0, 1, 2.
        columns: the names a table of dies uses for x, y, bin, lot and wafer, where they are not known ones.
        classes: a defect inspection's classes that count; None: all.
        min_defect_size: smallest defect that counts, in micrometres.
        overlay: the overlay of an E142 file to read.
        colours: a picture's background, passing and failing colour, as "#rrggbb".
        lenient: warn, where the file's own counts differ from what is read, instead of refusing.
        part: a list of dies may be a part of a wafer, such as a retest of one die; a box of dies that is too small for
            a map gets lines without dies, to the right and below.
    """

    pass_bins: frozenset[str] | None = None
    orient: Literal[0, 90, 180, 270] | None = None
    y_axis: YAxis | None = None
    retest: Retest = "last"
    states: tuple[str, str, str] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    classes: frozenset[str] | None = None
    min_defect_size: float = 0.0
    overlay: str | None = None
    colours: tuple[str, str, str] | None = None
    lenient: bool = False
    part: bool = False

    def differs(self, text: str) -> str:
        """Refuse a file that contradicts itself, or give back the warning where the user is lenient.

        Args:
            text: a sentence that says what the file states and what was read.

        Raises:
            InputError: not `lenient`.
        """
        if not self.lenient:
            raise InputError(f"{text} The file is damaged, or not read rightly; --lenient takes it with a warning.")
        return text


DEFAULT = Options()
