"""The web page, as server.py has Streamlit run it. By itself it has neither the headers nor the limits of guard.py."""

import sys
from pathlib import Path

if (root := str(Path(__file__).parents[1])) not in sys.path:  # Streamlit puts app/ there, not the folder around it
    sys.path.insert(0, root)

from app.shell import main

main(sys.argv[1:])
