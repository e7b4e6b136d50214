"""Parts of a result: kept when the command is killed, gone on from by the same command alone."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge.sets import parts
from edge.sets.parts import open_parts, write_part
from wafer_tf.errors import UsageError

ABOUT = {"set": "a", "wafers": 3}


class Killed(BaseException):
    """Stands for a kill: nothing after it is done."""


def join(paths: list[Path], out: Path) -> int:
    out.write_bytes(b"".join(path.read_bytes() for path in paths))
    return len(paths)


def make(out: Path, *, overwrite: bool = False) -> bool:
    """Make `out` of three parts as a command does; return whether an earlier call had it made."""
    with open_parts(out, ABOUT, overwrite=overwrite) as found:
        if found.done:
            return True
        there = found.numbers()
        for number in range(3):
            if number not in there:
                write_part(found.folder, number, b"%d\n" % number)
        assert found.finish(join) == 3
    return False


def killed_at(step: int, work: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Do some work, but be killed at one of the steps that change what lies on disk; return whether it came to that."""
    steps = 0

    def counted(name: str) -> None:
        real = getattr(Path, name)

        def change(path: Path, *given: object, **options: object) -> object:
            nonlocal steps
            steps += 1
            if steps > step:
                raise Killed
            return real(path, *given, **options)

        patched.setattr(Path, name, change)

    with monkeypatch.context() as patched:
        for name in ("mkdir", "replace", "unlink", "rmdir"):
            counted(name)
        try:
            work()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_kill_at_any_step_is_gone_on_from_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    steps = 0
    for step in range(1000):
        out = tmp_path / str(step)
        if overwrite:
            out.write_text("old")
        if not killed_at(step, lambda out=out: make(out, overwrite=overwrite), monkeypatch):
            break
        steps += 1
        assert not out.exists() or out.read_bytes() in (b"old", b"0\n1\n2\n")
        make(out, overwrite=overwrite)
        assert out.read_bytes() == b"0\n1\n2\n"
        assert not out.with_name(f"{out.name}.partial").exists()
    assert steps > 10


def test_parts_that_are_there_are_not_made_again_but_damaged_ones_are(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Killed), open_parts(out, ABOUT, overwrite=False) as found:
        for number in range(3):
            write_part(found.folder, number, bytes([number]) * 100)
        raise Killed
    (damaged,) = found.folder.glob("000001.*")
    damaged.write_bytes(bytes(100))
    with open_parts(out, ABOUT, overwrite=False) as found:
        assert found.numbers() == {0, 2}
        assert not damaged.exists()


def test_without_a_part_no_folder_is_left(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad"), open_parts(tmp_path / "out", ABOUT, overwrite=False):
        raise ValueError("bad")
    assert list(tmp_path.iterdir()) == []


def test_parts_of_something_else_are_refused_or_with_overwrite_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Killed), open_parts(out, ABOUT | {"wafers": 4, "set": "b"}, overwrite=False) as found:
        write_part(found.folder, 0, b"other")
        raise Killed
    with (
        pytest.raises(UsageError, match=r"differs in set, wafers; pass --overwrite"),
        open_parts(out, ABOUT, overwrite=False),
    ):
        pass
    assert [path.read_bytes() for path in found.folder.glob(parts.PARTS)] == [b"other"]
    make(out, overwrite=True)
    assert out.read_bytes() == b"0\n1\n2\n"


def test_a_folder_of_somebody_else_s_files_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "out.partial"
    folder.mkdir()
    (folder / "notes").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="holds files"), open_parts(tmp_path / "out", ABOUT, overwrite=overwrite):
            pass
    assert [path.name for path in folder.iterdir()] == ["notes"]


def test_a_file_that_is_there_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match="exists already"), open_parts(tmp_path / "out", ABOUT, overwrite=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_two_at_once_are_one_too_many(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        open_parts(out, ABOUT, overwrite=False),
        pytest.raises(UsageError, match="another process"),
        open_parts(out, ABOUT, overwrite=False),
    ):
        pass
    assert make(out) is False


def test_a_result_that_was_taken_away_meanwhile_is_made_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Killed), open_parts(out, ABOUT, overwrite=False) as found:
        write_part(found.folder, 0, b"0\n")
        raise Killed
    (found.folder / parts.ABOUT).rename(found.folder / parts.FINISHED)
    assert make(out) is False
    assert out.read_bytes() == b"0\n1\n2\n"


def test_what_parts_are_of_can_be_read(tmp_path: Path) -> None:
    with open_parts(tmp_path / "out", ABOUT, overwrite=False) as found:
        assert json.loads((found.folder / parts.ABOUT).read_text()) == ABOUT
