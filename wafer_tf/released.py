"""The models that come with the project, wherever it lies. Needs the standard library alone."""

import os
from pathlib import Path

from wafer_tf.errors import ModelError

NAMES = ("wafer", "nano")
"""The released models: a ResNet18, and a small CNN taught by it that is some ten times as fast."""
DEFAULT = NAMES[0]
_PLACES = (Path(__file__).with_name("released"), Path(__file__).parents[1] / "models")
"""In an installed package, and in a clone."""


def released(name: str = DEFAULT) -> Path:
    """Return the folder of a released model: a finished run folder with its int8 bundle in `bundle/`.

    Raises:
        ModelError: no such model, or the models are not beside the program (a packed station carries none).

    Examples:
        >>> released("nano").name
        'nano'
    """
    if name not in NAMES:
        raise ModelError(f"released model {name!r}: there is none; expected one of {', '.join(NAMES)}.")
    found = next((place / name for place in _PLACES if (place / name / "DONE").is_file()), None)
    if found is None:
        raise ModelError(
            f"released model {name!r}: does not come with this copy of the program; name the folder of a bundle "
            "(--bundle FOLDER) or of a run, or install the wheel, which carries the models."
        )
    return found


def bundle_folder(text: str | os.PathLike[str]) -> Path:
    """Return the folder of the bundle that a user named: a folder, or the name of a released model."""
    return released(str(text)) / "bundle" if _is_name(text, "bundle.json") else Path(text)


def run_folder(text: str | os.PathLike[str]) -> Path:
    """Return the run folder that a user named: a folder, or the name of a released model."""
    return released(str(text)) if _is_name(text, "config.json") else Path(text)


def results(run: str | os.PathLike[str], kind: str) -> Path:
    """Return where what is made of a run goes: RUN/KIND, or KIND/NAME here for a model inside an installed package."""
    run = Path(run)
    return Path(kind) / run.name if run.parent == _PLACES[0] else run / kind


def _is_name(text: str | os.PathLike[str], marker: str) -> bool:
    """Whether a released model is meant; a folder of that name here that holds what is looked for comes first."""
    return str(text) in NAMES and not (Path(text) / marker).is_file()
