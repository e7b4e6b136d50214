"""The server of the page, as Streamlit runs it: `streamlit run app/server.py [-- --run RUN]`."""

import sys
from pathlib import Path

if (root := str(Path(__file__).parents[1])) not in sys.path:  # Streamlit puts app/ there, not the folder around it
    sys.path.insert(0, root)

from streamlit.starlette import App

from app.guard import middleware

app = App(Path(__file__).with_name("page.py"), middleware=middleware())
