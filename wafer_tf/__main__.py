"""wafer-tf: from wafer maps to an int8 classifier on an inspection station. One verb per job."""

import difflib
import importlib
import os
import sys
from typing import NamedTuple

from wafer_tf.command import call_as, run
from wafer_tf.errors import UsageError
from wafer_tf.version import __version__


class Verb(NamedTuple):
    """A job of the command.

    Attributes:
        module: whose `main` does it.
        says: what it does, in a line.
        words: that go before the user's own.
    """

    module: str
    says: str
    words: tuple[str, ...] = ()


STATION, SIGNING = "edge.station.__main__", "edge.signing"
GROUPS = {
    "on a station (numpy and ai-edge-litert alone)": {
        "classify": Verb(STATION, "judge files of wafer maps: JSON lines, CSV, Parquet, SEMI E142", ("classify",)),
        "watch": Verb(STATION, "judge every file that arrives in a folder", ("watch",)),
        "inspect": Verb("edge.inspect", "say what is in files of wafer maps, and why one cannot be read"),
        "convert-map": Verb(STATION, "write a tool's file as SEMI E142 or as a table of dies", ("convert-map",)),
        "verify": Verb("edge.verify", "look for changed records; hold a bundle against its signature"),
        "selftest": Verb(STATION, "check a bundle and let it judge its golden maps", ("selftest",)),
        "bench": Verb(STATION, "how fast this machine is", ("bench",)),
    },
    "training, with [train]": {
        "fit": Verb("training.fit", "train a classifier on labelled maps"),
        "evaluate": Verb("training.evaluate", "score a run on its test part or on other maps"),
        "explain": Verb("training.explain", "show what a call rests on, on the dies and in a sentence"),
        "unknown": Verb("training.unknown", "teach a finished run to say what it does not know"),
        "operating": Verb("training.operating", "the share that may be answered alone, points, at a fab's own mix"),
        "tune": Verb("training.tune", "search settings by validation"),
        "page": Verb("app.__main__", "open the web page; with [page]"),
    },
    "from a run to a station, with [train]": {
        "convert": Verb("edge.convert", "quantize a run to int8 and gate it against the float model"),
        "calibrate": Verb("edge.calibrate", "fit a bundle to another fab's labelled wafers, without training"),
        "benchmark": Verb("edge.benchmark", "time float, int8 and ONNX Runtime beside each other"),
        "sign": Verb(SIGNING, "sign a bundle", ("sign",)),
        "pack": Verb("edge.pack", "the whole station as one file, station.pyz"),
    },
    "whole sets, with [train]": {
        "classify-set": Verb("edge.classify", "judge a whole wafer set on all cores"),
        "to-parquet": Verb("wafer_tf.readers.__main__", "convert a set to Parquet and say what is in it"),
    },
}
"""The jobs by where they are done. Modules are named, not imported: the library knows no command, --help is quick."""
VERBS = {name: verb for verbs in GROUPS.values() for name, verb in verbs.items()}


def main(argv: list[str] | None = None) -> int:
    """Run the verb that is asked for and return its exit code."""
    return run(lambda: _main(sys.argv[1:] if argv is None else argv))


def _main(argv: list[str]) -> int:
    asked, rest = (argv[0], argv[1:]) if argv else ("", [])
    if asked in ("", "-h", "--help"):
        if asked:
            _say(usage())
            return 0
        print(usage(), file=sys.stderr)
        return UsageError.exit_code
    if asked == "--version":
        _say(f"wafer-tf {__version__}")
        return 0
    return _verb(asked, rest)


def usage() -> str:
    """Return the help: every verb, by where it is done."""
    lines = ["usage: wafer-tf VERB ...", "", str(__doc__)]
    for group, verbs in GROUPS.items():
        lines += ["", f"{group}:", *(f"  {name:<14}{verb.says}" for name, verb in verbs.items())]
    return "\n".join(
        [
            *lines,
            "",
            "wafer-tf VERB --help says more, with an example; wafer-tf --version. Without an extra the package is the",
            "station. To have the rest: pip install 'WHEEL[train]', with the page 'WHEEL[page]'; WHEEL is wafer_tf's.",
            "",
            "example:",
            "  wafer-tf classify lot7/*.npy > records.jsonl",
            "",
            "exit codes: 0 done, 2 usage, 3 bad model, run folder or bundle, 4 bad input, 5 accuracy gate failed,",
            "130 interrupted",
        ]
    )


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails once more when it ends
        if not isinstance(error, BrokenPipeError):  # who closes a pipe has read enough
            raise


def _verb(asked: str, rest: list[str]) -> int:
    if asked not in VERBS:
        near = difflib.get_close_matches(asked, VERBS, n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"{asked!r} is no verb of wafer-tf.{meant} wafer-tf --help names all of them.")
    verb = VERBS[asked]
    with call_as(_words()):
        main = importlib.import_module(verb.module).main
        code: int = main([*verb.words, *rest])
    return code


def _words() -> dict[str, str]:
    """Return how each command is called here, by how its own texts call it."""
    names = {"station is `python -m edge.station` or `python station.pyz`.\n": "", "python -m edge.station": "wafer-tf"}
    for name, verb in VERBS.items():
        module = verb.module.removesuffix(".__main__")
        names[" ".join([f"python -m {module}", *verb.words])] = f"wafer-tf {name}"
        if verb.module == STATION:
            names[f"station {name}"] = f"wafer-tf {name}"
    return names


if __name__ == "__main__":
    sys.exit(main())
