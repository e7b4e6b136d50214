"""The finished parts of a long command's result, kept so that the command goes on from them when it is started again.

Beside the file OUT lies the folder OUT.partial: a file that says what the parts were made of and how, and the parts,
each with the CRC-32 of its bytes in its name. What is made of them takes the name OUT when it is whole.
"""

import fcntl
import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wafer_tf.errors import UsageError
from wafer_tf.whole_files import whole_file, whole_path, write_whole

ABOUT, FINISHED, WHOLE = "about.json", "finished.json", "whole"
"""What the parts are made of; the same, once WHOLE is; the result before it has its name."""
PARTS = "[0-9]*.*.part"
"""Number, CRC-32."""


class Parts:
    """The parts of one result, in a folder that is this process's alone.

    Attributes:
        out: the file that is made of them.
        folder: where they lie.
        done: whether `out` is made already, so that there is nothing left to do.
    """

    def __init__(self, out: Path, folder: Path) -> None:
        """`open_parts` makes them."""
        self.out, self.folder, self.done = out, folder, False

    def go_on(self, *, ended: bool) -> None:
        """End what an earlier call had all parts for, if it was killed when it gave the result its name, or after."""
        if ended:
            self._end()
        elif (self.folder / FINISHED).exists():
            if (self.folder / WHOLE).exists() or self.out.exists():
                self._end()
            else:  # somebody took it away
                (self.folder / FINISHED).replace(self.folder / ABOUT)

    def numbers(self) -> set[int]:
        """Return the numbers of the parts that are there; one that was damaged, as by a loss of power, is removed."""
        self._paths: dict[int, Path] = {}
        for path in self.folder.glob(PARTS):
            number, crc32, _ = path.name.split(".")
            if f"{zlib.crc32(path.read_bytes()):08x}" == crc32:
                self._paths[int(number)] = path
            else:
                path.unlink()
        return set(self._paths)

    def finish(self, join: Callable[[list[Path], Path], Any]) -> Any:
        """Make the result of all parts, give it its name, and remove them.

        Args:
            join: is given the parts in order and the file to write; what it returns is returned.
        """
        self.numbers()
        with whole_path(self.folder / WHOLE) as partial:
            told = join([self._paths[number] for number in sorted(self._paths)], partial)
        (self.folder / ABOUT).replace(self.folder / FINISHED)
        self._end()
        return told

    def _end(self) -> None:
        whole = self.folder / WHOLE
        if whole.exists():
            whole.replace(self.out)
        _clear(self.folder)
        self.folder.rmdir()
        self.done = True


def write_part(folder: Path, number: int, content: bytes) -> None:
    """Add a part, from whatever process; one that is there already is replaced by the same bytes."""
    name = f"{number:06d}.{zlib.crc32(content):08x}.part"
    with whole_file(folder / name, durable=False) as file:  # its CRC-32 tells whether it came to the disk
        file.write(content)


@contextmanager
def open_parts(out: Path, about: Mapping[str, Any], *, overwrite: bool) -> Iterator[Parts]:
    """Open the parts of a result, those of an earlier call among them. Without any at the end no folder is left.

    Args:
        out: the file that will be made of them.
        about: plain JSON values that say of what and how. Parts of anything else are not gone on from.
        overwrite: `out` may be replaced, and parts of something else too.

    Raises:
        UsageError: `out` is there and may not be replaced; there are parts of something else; another process is at it.
    """
    folder = out.with_name(f"{out.name}.partial")
    ended = out.exists() and not overwrite
    if ended and not _only_clearing_is_left(folder, about):
        raise UsageError(f"{out}: exists already; pass --overwrite to replace it, or name another file.")
    folder.mkdir(exist_ok=True)
    with _alone(folder, out):
        before = _about(folder)
        if before != about and not ended:
            if before is None and any(path.name[0] != "." for path in folder.iterdir()):
                raise UsageError(f"{folder}: holds files, but not the parts of {out.name}; name another file (--out).")
            if before is not None and not overwrite:
                raise UsageError(_differs(folder, before, about))
            _clear(folder)
            write_whole(folder / ABOUT, json.dumps(about, indent=2) + "\n")
        parts = Parts(out, folder)
        parts.go_on(ended=ended)
        try:
            yield parts
        finally:
            if folder.exists() and not any(folder.glob(PARTS)):
                _clear(folder)
                folder.rmdir()


def _only_clearing_is_left(folder: Path, about: Mapping[str, Any]) -> bool:
    """Whether a call was killed when its result had its name already: without `overwrite` nothing else leaves this."""
    if not folder.is_dir():
        return False
    return not any(folder.iterdir()) or (_about(folder) == about and (folder / FINISHED).exists())


def _clear(folder: Path) -> None:
    """Remove the parts, and last what they are of: a command killed meanwhile leaves what it can go on from."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name in (ABOUT, FINISHED)):
        path.unlink()


def _about(folder: Path) -> Any:
    for name in (FINISHED, ABOUT):
        try:
            return json.loads((folder / name).read_text())
        except FileNotFoundError:
            continue
        except ValueError:
            return {}
    return None


def _differs(folder: Path, before: Any, about: Mapping[str, Any]) -> str:
    changed = [key for key in about if not isinstance(before, dict) or before.get(key) != about[key]]
    return (
        f"{folder}: parts of another run are there, which differs in {', '.join(changed)}; pass --overwrite to begin "
        "anew, or name another file."
    )


@contextmanager
def _alone(folder: Path, out: Path) -> Iterator[None]:
    """Hold a lock on a folder, which the system takes back when the process ends, however it does."""
    place = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise UsageError(f"{out}: another process is writing it; wait for its end, or name another file.") from None
    finally:
        os.close(place)
