"""Open the web page: `python -m app`."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

from app.options import choose, parser
from wafer_tf.command import run as run_command

PAGE = Path(__file__).with_name("page.py")


def main(argv: list[str] | None = None) -> int:
    """Check the arguments, then become the Streamlit server."""
    return run_command(lambda: _serve(argv))


def _serve(argv: list[str] | None) -> None:
    p = parser()
    p.add_argument("--port", type=int, default=8501, help="port of the page (default: %(default)s)")
    args = p.parse_args(argv)
    options = choose(args)

    from wafer_tf.learning.run_folder import RunFolder

    RunFolder.open(options.run)
    if find_spec("streamlit") is None:  # the server's own words would not say what brings it
        raise ModuleNotFoundError("no streamlit", name="streamlit")
    command = [sys.executable, "-m", "streamlit", "run", str(PAGE), "--server.port", str(args.port), "--"]
    for name, value in (("run", options.run), ("bundle", options.bundle), ("reference", options.reference)):
        if value is not None:
            command += [f"--{name}", str(value)]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    sys.exit(main())
