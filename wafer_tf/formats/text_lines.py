"""The lines of a text map, numbered, one at a time: a list of all may take eight times the file. Needs no numpy."""

from collections.abc import Iterator, Mapping

from wafer_tf.formats.opened import MAX_WHOLE, Opened


def numbered_lines(file: Opened, limit: int = MAX_WHOLE) -> Iterator[tuple[int, str]]:
    """Yield number, from 1, and text of each line.

    Raises:
        InputError: more than `limit` bytes.
    """
    text = file.text(limit)
    start, number = 0, 0
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        number += 1
        yield number, text[start:end]
        start = end + 1


def first_of(said: Mapping[str, str], keys: tuple[str, ...]) -> str:
    """Return what a file says under the first of several names for one thing, "" where it says nothing."""
    return next((said[key] for key in keys if said.get(key)), "")
