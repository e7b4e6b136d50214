"""What a .tflite file says of itself: metadata.json in a zip archive behind the model, which interpreters ignore.

`unzip -p model_int8.tflite metadata.json` shows it.
"""

import io
import json
import zipfile
from typing import Any

from wafer_tf.errors import ModelError

NAME = "metadata.json"


def append_metadata(model: bytes, facts: dict[str, Any]) -> bytes:
    """Return a model without metadata with `facts` behind it; the same of both give the same bytes."""
    out = io.BytesIO(model)
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(zipfile.ZipInfo(NAME), json.dumps(facts, indent=1, allow_nan=False) + "\n")
    return out.getvalue()


def read_metadata(model: bytes) -> dict[str, Any]:
    """Return the facts behind a model.

    Raises:
        ModelError: there are none, or they are damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(model)) as archive:
            facts = json.loads(archive.read(NAME))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ModelError(f"model: no whole {NAME} behind it ({error}).") from error
    if not isinstance(facts, dict):
        raise ModelError(f"model: {NAME} behind it holds {type(facts).__name__}; expected an object.")
    return facts
