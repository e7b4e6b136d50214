"""The web page, as Streamlit runs it: `streamlit run app/page.py [-- --run RUN]`."""

import sys
from pathlib import Path

if (root := str(Path(__file__).parents[1])) not in sys.path:  # Streamlit puts app/ there, not the folder around it
    sys.path.insert(0, root)

from app.shell import main

main(sys.argv[1:])
