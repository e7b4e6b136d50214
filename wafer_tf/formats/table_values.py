"""What a die's bin or result means: no die, pass or fail. Needs numpy alone."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wafer_tf.dies import Die
from wafer_tf.errors import InputError
from wafer_tf.formats.options import Options
from wafer_tf.formats.table_columns import Kind

PASS_WORDS = frozenset({"p", "pass", "passed", "good", "ok", "true", "t", "yes", "y"})
FAIL_WORDS = frozenset({"f", "fail", "failed", "bad", "nok", "ng", "reject", "false", "n", "no"})
_ANSWERS = PASS_WORDS | FAIL_WORDS
_BOOLEANS = frozenset({"true", "t", "yes", "y", "false", "f", "no", "n"})
NO_WORDS = frozenset(
    {"", "nan", "na", "n/a", "<na>", "null", "none", "-", "--", "untested", "not tested", "nt", "skip", "skipped"}
)
"""What stands where a die has no result."""
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(?:[.,]0*)?")


class Meaning(NamedTuple):
    """What the values of a column mean.

    Attributes:
        states: the die state of each value.
        assumed: what the file does not say, in sentences.
    """

    states: list[int]
    assumed: tuple[str, ...] = ()


class UnknownValueError(InputError):
    """A value that means nothing certain; `which` of them it is, and what was expected."""

    def __init__(self, which: int, expected: str) -> None:
        """Remember which of the values it is."""
        super().__init__(expected)
        self.which = which


def number(word: str) -> int | None:
    """Return the whole number that a text is ("3", "-4", "3.0", "3,0"), else None."""
    return int(re.split("[.,]", word)[0]) if _NUMBER.fullmatch(word) else None


def bin_name(word: str) -> str:
    """Return a bin's name: "1" for "1", "01" and "1.0", else the text itself."""
    found = number(word)
    return word if found is None else str(found)


def same_value(word: str) -> str | float:
    """Return what two spellings of one value have in common: 1, 1.0 and 01 are one, and so are nan and NaN."""
    try:
        found = float(word)
    except ValueError:
        return word.strip().casefold()
    return "nan" if math.isnan(found) else found


def state_of(states: tuple[str, str, str]) -> dict[str | float, int]:
    """Return the die state of each value of `Options.states`.

    Raises:
        InputError: two of them are the same.
    """
    meant = {same_value(word): int(state) for state, word in zip(Die, states, strict=True) if word.strip()}
    if len(meant) < sum(bool(word.strip()) for word in states) or not meant:
        raise InputError(f"--states {','.join(states)}: expected different values for no die, pass and fail.")
    return meant


def meaning(words: Sequence[str], kind: Kind, column: str, options: Options) -> Meaning:
    """Tell what the values of a column mean.

    Args:
        words: the different values of the column, without blanks around.
        kind: of the column.
        column: its name, for what is assumed.
        options: what the user says.

    Raises:
        UnknownValueError: a value that means nothing certain.
    """
    if options.states is not None and options.pass_bins is None:
        return _by_states(words, options.states)
    tested = {number(word) for word in words if word.casefold() not in NO_WORDS}
    if options.pass_bins is not None:
        passing = {bin_name(word.strip()) for word in options.pass_bins}
        absent = {same_value(options.states[0])} if options.states and options.states[0] else set()
        return Meaning([_by_bins(word, passing, absent) for word in words])
    if None in tested:
        return _by_words(words, kind, column)
    numbers = {found for found in tested if found is not None and found >= 0}
    assumed = [f"numbers below 0 in column {column} are dies without a result (--states)"] * (numbers != tested)
    no_die: set[str | float] = set()
    passing = {"1"}
    if kind == "fail" and numbers <= {0, 1}:
        passing = {"0"}
        assumed.append(f"0 in column {column} is a passing die, 1 a failing one (--pass-bins 0)")
    elif kind == "fail":
        which = next(i for i, word in enumerate(words) if (number(word) or 0) > 1)
        raise UnknownValueError(which, f"0 or 1 in a column {column}. Say which values pass: --pass-bins 0.")
    elif kind == "result" and numbers <= {0, 1, 2} and 2 in numbers:
        no_die = {0.0}
        assumed.append(f"column {column} holds die states: 0 no die, 1 pass, 2 fail (--states '0,1,2')")
    elif kind == "result" and numbers <= {0, 1}:
        assumed.append(f"1 in column {column} is a passing die, 0 a failing one (--pass-bins 1)")
    elif kind == "soft" and 1 not in numbers and numbers:
        which = next(i for i, word in enumerate(words) if number(word) in numbers)
        raise UnknownValueError(
            which, f"soft bin 1 on some die, the usual passing one. Say which bins pass: --pass-bins {words[which]}."
        )
    else:
        assumed.append(f"bin 1 of column {column} passes, the others fail (--pass-bins 1)")
    return Meaning([_by_bins(word, passing, no_die) for word in words], tuple(assumed))


def _by_bins(word: str, passing: Iterable[str], no_die: set[str | float]) -> int:
    if bin_name(word) in passing:
        return Die.PASS
    if word.casefold() in NO_WORDS or same_value(word) in no_die or (number(word) or 0) < 0:
        return Die.ABSENT
    return Die.FAIL


def _by_words(words: Sequence[str], kind: Kind, column: str) -> Meaning:
    """Read values that are not all numbers; "true" says that a die failed where the column is called so."""
    tested = {word.casefold() for word in words} - NO_WORDS
    turned = kind == "fail" and tested <= _BOOLEANS and tested != {"f"}
    states = []
    for which, word in enumerate(words):
        plain = word.casefold()
        if plain in NO_WORDS:
            states.append(Die.ABSENT)
        elif plain in PASS_WORDS or plain in FAIL_WORDS:
            states.append(Die.PASS if (plain in PASS_WORDS) != turned else Die.FAIL)
        elif number(word) is None:
            raise UnknownValueError(
                which, "a bin number, or P and F, PASS and FAIL. Say which values pass: --pass-bins 1."
            )
    if len(states) < len(words):  # numbers among the words: what comes second is the odd one
        of_number = [number(word) is not None for word in words]
        which = max(of_number.index(True), next(i for i, word in enumerate(words) if word.casefold() in _ANSWERS))
        expected = "P and F, PASS and FAIL" if of_number[which] else "a bin number"
        raise UnknownValueError(which, f"{expected}, as in lines before. Say which values pass: --pass-bins 1.")
    said = (f"true in column {column} is a failing die (--pass-bins false)",) if turned else ()
    return Meaning([int(state) for state in states], said)


def _by_states(words: Sequence[str], states: tuple[str, str, str]) -> Meaning:
    meant = state_of(states)
    found = []
    for which, word in enumerate(words):
        state = meant.get(same_value(word), Die.ABSENT if word == "" else None)
        if state is None:
            raise UnknownValueError(which, f"one of {', '.join(word for word in states if word)}, as --states says.")
        found.append(int(state))
    return Meaning(found)
