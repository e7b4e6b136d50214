"""Which columns of a table of dies hold what, by their names. Needs numpy alone."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from wafer_tf.errors import InputError

Kind = Literal["hard", "bin", "result", "fail", "soft"]
"""What a column says of a die: its hard, plain or soft bin, whether it passed, or whether it failed."""

_INDEX = (
    *("die{}", "{}die", "die{}coord", "{}diecoord", "diecoord{}", "{}index", "index{}", "die{}index", "dieindex{}"),
    *("i{}", "{}idx", "idx{}", "{}no", "{}num", "{}number"),
)
_PLACE = (
    *("{}", "{}coord", "coord{}", "{}coordinate", "coordinate{}", "map{}", "{}map", "grid{}", "wafer{}", "{}wafer"),
    *("{}address", "{}addr", "addr{}", "{}pos", "pos{}", "{}position", "position{}", "{}loc", "loc{}", "{}location"),
)
_COLUMN = ("{}", "{}no", "{}num", "{}number", "{}index", "{}idx", "die{}", "map{}", "{}id")
PLACES: tuple[tuple[str, str], ...] = (
    *((form.format("x"), form.format("y")) for form in _INDEX),
    *((form.format("column"), form.format("row")) for form in _COLUMN),
    *((form.format("col"), form.format("row")) for form in _COLUMN),
    *((form.format("x"), form.format("y")) for form in _PLACE),
)
"""Names of a die's column and row, `plain`; what counts dies comes before what may be a length."""
RESULTS: dict[Kind, tuple[str, ...]] = {
    "hard": (
        *("hardbin", "hbin", "hardbinnumber", "hardbinnum", "hardbinno", "hardbincode", "hardbinid", "hbinnumber"),
        *("hbinnum", "hbinno", "hwbin", "hwbinnumber", "hwbinnum", "hwbinno", "hardwarebin", "hb", "binhard"),
    ),
    "bin": (
        *("bin", "binnumber", "binnum", "binno", "bincode", "binid", "diebin", "finalbin", "testbin", "binvalue"),
        *("category", "bincategory"),
    ),
    "result": (
        *("passfail", "pf", "pass", "passed", "ispass", "passflag", "good", "isgood", "result", "dieresult", "status"),
        *("testresult", "teststatus", "diestatus", "partstatus", "state", "diestate", "verdict", "outcome", "grade"),
        *("judgement", "judgment"),
    ),
    "fail": ("fail", "failed", "isfail", "failflag", "failing", "bad", "isbad", "defect", "isdefect", "defective"),
    "soft": (
        *("softbin", "sbin", "softbinnumber", "softbinnum", "softbinno", "softbincode", "softbinid", "sbinnumber"),
        *("sbinnum", "sbinno", "swbin", "swbinnumber", "swbinnum", "swbinno", "softwarebin", "sb", "binsoft"),
    ),
}
"""Names of what a die's result is in, `plain`; the first kind that is there counts."""
WORDS = {
    "lot": ("lot", "lotid", "lotname", "lotno", "lotnumber", "lotnum"),
    "wafer": (
        *("wafer", "waferid", "waferno", "wafernumber", "wafernum", "wafername", "waferindex", "wid", "substrateid"),
        *("slot", "slotid", "slotno", "slotnumber"),
    ),
    "product": (
        "product",
        "productid",
        "productname",
        "device",
        "deviceid",
        "devicename",
        "part",
        "parttype",
        "partid",
    ),
    "step": ("step", "stepid", "teststep", "operation", "stage", "testcode", "flow"),
    "time": ("time", "testtime", "timestamp", "datetime", "date", "testdate", "starttime", "endtime", "finishtime"),
}
"""Names of what is said of a wafer, `plain`."""
ROLES = ("x", "y", "bin", *WORDS)
"""What `Options.columns` may name."""


class Columns(NamedTuple):
    """Where a table holds what.

    Attributes:
        places: role ("x", "y", "bin", "result", "lot", ...) to the number of the column, from 0.
        names: role to the column's name, as the file writes it.
        kinds: of the columns in the roles "bin" and "result", of which one or both are there.
        assumed: which of several columns was taken, in sentences.
    """

    places: dict[str, int]
    names: dict[str, str]
    kinds: dict[str, Kind]
    assumed: tuple[str, ...]


def plain(name: str) -> str:
    """Return a column's name in lower case without blanks and marks: "X_Coord" is "xcoord"."""
    return re.sub(r"[\W_]+", "", name).casefold()


def has_places(names: Sequence[str]) -> bool:
    """Tell whether among the names of columns are those of a die's column and row."""
    known = {plain(name) for name in names}
    return any(x in known and y in known for x, y in PLACES)


def find_columns(names: Sequence[str], given: Mapping[str, str], name: str) -> Columns:
    """Find the columns of a table of dies.

    Args:
        names: of all columns, as the file writes them.
        given: `Options.columns`.
        name: what to call the file in an error.

    Raises:
        InputError: no column for x, y or the result; a name that is given and not there, or there twice.
    """
    held = f"it has {', '.join(names[:40])}"
    known: dict[str, int] = {}
    for number, column in enumerate(names):
        known.setdefault(plain(column), number)
    places = {role: _given(names, role, column, name) for role, column in given.items() if column}
    assumed = _find_place(names, known, places)
    missing = [role for role in ("x", "y") if role not in places]
    if missing:
        raise InputError(
            f"{name}: no column for the {' and '.join(missing)} of a die ({held}); expected names such as x, y, "
            f"X_COORD, row or col. Say which it is: --columns {missing[0]}=NAME."
        )
    kinds = _find_result(names, known, places, held, name)
    softer = [column for column in names if plain(column) in RESULTS["soft"]]
    if kinds.get("bin") in ("hard", "bin") and softer and "bin" not in given:
        assumed.append(
            f"the bin is taken from column {names[places['bin']]}, not {softer[0]} (--columns bin={softer[0]})"
        )
    for role, known_names in WORDS.items():
        found = [known[word] for word in known_names if word in known and known[word] not in places.values()]
        if found:
            places.setdefault(role, found[0])
    twice = [c for c in (names[p] for p in places.values()) if [plain(n) for n in names].count(plain(c)) > 1]
    if twice:
        raise InputError(f"{name}: two columns are called {twice[0]}; expected one. Rename the other.")
    return Columns(places, {role: names[place] for role, place in places.items()}, kinds, tuple(assumed))


def _given(names: Sequence[str], role: str, column: str, name: str) -> int:
    if role not in ROLES:
        raise InputError(f"--columns {role}={column}: {role} is none of {', '.join(ROLES)}.")
    same = [n for n, there in enumerate(names) if there == column] or [
        n for n, there in enumerate(names) if plain(there) == plain(column) and plain(column)
    ]
    if not same:
        raise InputError(
            f"{name}: no column {column!r} for {role} (it has {', '.join(names[:40])}); expected it, as --columns says."
        )
    return same[0]


def _find_place(names: Sequence[str], known: Mapping[str, int], places: dict[str, int]) -> list[str]:
    if "x" in places or "y" in places:  # the other one by any name
        for x, y in PLACES:
            for role, word in (("x", x), ("y", y)):
                if word in known and known[word] not in places.values():
                    places.setdefault(role, known[word])
        return []
    pairs = [(known[x], known[y]) for x, y in PLACES if x in known and y in known]
    if not pairs:
        return []
    places["x"], places["y"] = pairs[0]
    taken, left = (" and ".join(names[n] for n in pair) for pair in (pairs[0], pairs[-1]))
    return [] if len(pairs) == 1 else [f"a die's place is taken from {taken}, not {left} (--columns x=NAME,y=NAME)"]


def _find_result(
    names: Sequence[str], known: Mapping[str, int], places: dict[str, int], held: str, name: str
) -> dict[str, Kind]:
    """Find the bin, and the result beside it where the table has both; return their kinds."""
    if "bin" in places:  # named by the user: its name may still say that 1 is a failing die
        word = plain(names[places["bin"]])
        return {"bin": next((kind for kind, known_names in RESULTS.items() if word in known_names), "bin")}
    free = {word: place for word, place in known.items() if place not in places.values()}
    found = {kind: [free[word] for word in words if word in free] for kind, words in RESULTS.items()}
    kinds: dict[str, Kind] = {}
    for role, of_role in (("bin", ("hard", "bin", "soft")), ("result", ("result", "fail"))):
        for kind, there in found.items():
            if kind in of_role and there and role not in places:
                places[role], kinds[role] = there[0], kind
    if not kinds:
        raise InputError(
            f"{name}: no column for a die's bin or result ({held}); expected a name such as bin, hard_bin, HBIN, "
            "result or pass_fail. Say which it is: --columns bin=NAME."
        )
    return kinds
