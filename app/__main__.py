"""Open the web page: `python -m app`."""

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

from app.options import choose, parser
from wafer_tf.command import run as run_command
from wafer_tf.errors import UsageError

SERVER = Path(__file__).with_name("server.py")


def main(argv: list[str] | None = None) -> int:
    """Check the arguments, then serve the page until SIGTERM or Ctrl-C."""
    return run_command(lambda: _serve(argv))


def _serve(argv: list[str] | None) -> None:
    p = parser()
    p.add_argument("--port", type=int, default=8501, help="port of the page (default: %(default)s)")
    p.add_argument("--address", help="address to listen to, 0.0.0.0 for all of this machine's (default: localhost)")
    p.add_argument("--name", help="what browsers call this machine, beside localhost (default: ADDRESS)")
    args = p.parse_args(argv)
    if args.address in ("0.0.0.0", "::") and not args.name:
        raise UsageError(f"--address {args.address}: by which name do browsers ask for the page? Add --name NAME.")
    options = choose(args)

    from wafer_tf.learning.run_folder import RunFolder

    RunFolder.open(options.run)
    if find_spec("streamlit") is None:  # the server's own words would not say what brings it
        raise ModuleNotFoundError("no streamlit", name="streamlit")
    from app.server import app

    sys.argv = [str(SERVER)]  # beside it Streamlit looks for its settings; the rest is read by page.py
    for name, value in (("run", options.run), ("bundle", options.bundle), ("reference", options.reference)):
        if value is not None:
            sys.argv += [f"--{name}", str(value)]
    # uvicorn sends itself the signal again when it has shut down: so that what is to be done at exit is done
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    name = args.name or args.address
    asked = {"server.port": args.port, "server.address": args.address, "browser.serverAddress": name}
    app.run(config={option: value for option, value in asked.items() if value is not None})


if __name__ == "__main__":
    sys.exit(main())
