"""What `make docs` adds to the pages in docs/: pages from the clone's own files, the tutorial, the commands' help.

Links are written as the clone's files need them, so that they work where the files are read. Here they are turned to
the site's pages; a link to a file that is no page becomes plain text.
"""

import contextlib
import importlib
import io
import json
import os
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
FROM_CLONE = {
    "index.md": "README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    "explanation/speed.md": "benchmarks/README.md",
}
"""Pages of the site by the files they are."""
TUTORIAL, NOTEBOOK = "tutorial.md", "docs/tutorial.ipynb"
COMMANDS = "reference/commands.md"
COMMANDS_HEAD = """# Commands

`wafer-tf VERB` does every job. This page holds what each `wafer-tf VERB --help` says.

In a clone each verb is also a module: `python -m training.fit` is `wafer-tf fit`, `python -m edge.convert` is
`wafer-tf convert`, and `python -m edge.station` has the verbs of the station.

Data goes to stdout, words and the progress bar to stderr. No command overwrites what it did not make.

| exit code | meaning |
| --- | --- |
| 0 | done |
| 2 | wrong usage, or a package is missing |
| 3 | bad model, run folder or bundle |
| 4 | bad input, or input and output that fail |
| 5 | the accuracy gate failed |
| 130 | interrupted by Ctrl-C |
| 141 | the reader of the records went away |
"""
TUTORIAL_HEAD = """This page is the notebook `docs/tutorial.ipynb`, without what its cells print and draw. Open it in
Jupyter, or in an editor that runs notebooks."""
_LINK = re.compile(r"(!?)\[((?:[^][]|\[[^]]*\])*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    made = {page: (ROOT / source).read_text(encoding="utf-8") for page, source in FROM_CLONE.items()}
    made[COMMANDS] = commands()
    made[TUTORIAL] = notebook(json.loads((ROOT / NOTEBOOK).read_text(encoding="utf-8")))
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page's links from the clone's files to the site's pages."""
    source = _source(page.file.src_uri)
    if "/" not in page.file.src_uri:  # stands in no section
        page.meta["hide"] = ["navigation"]

    def turned(found: re.Match[str]) -> str:
        mark, text, target = found.groups()
        path, anchor, rest = target.partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return found[0]
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        uri = _page(wanted)
        if files.get_file_from_path(uri) is None:
            if not (ROOT / wanted).exists():
                raise ValueError(f"{source}: a link to {target}, which does not exist")
            return str(text)
        return f"{mark}[{text}]({os.path.relpath(uri, posixpath.dirname(page.file.src_uri) or '.')}{anchor}{rest})"

    parts = _FENCE.split(markdown)
    return "".join(part if part.startswith("```") else _LINK.sub(turned, part) for part in parts)


def commands() -> str:
    """Return the page of all verbs, by what their --help says."""
    sys.path.insert(0, str(ROOT))
    os.environ["COLUMNS"] = "100"
    wafer_tf = importlib.import_module("wafer_tf.__main__")
    lines = [COMMANDS_HEAD]
    for group, verbs in wafer_tf.GROUPS.items():
        lines.append(f"\n## {group[0].upper()}{group[1:]}\n")
        for verb in verbs:
            lines.append(f"### {verb}\n\n```text\n{_help(wafer_tf.main, verb)}```\n")
    return "\n".join(lines)


def notebook(data: dict[str, Any]) -> str:
    """Return a notebook as a page: text, code, and what is kept of the code's output."""
    parts = []
    for cell in data["cells"]:
        text = "".join(cell["source"]).strip()
        if cell["cell_type"] == "markdown":
            parts.append(text)
        elif cell["cell_type"] == "code":
            parts += [f"```python\n{text}\n```", *map(_output, cell["outputs"])]
    heading, _, text = "\n\n".join(part for part in parts if part).partition("\n")
    return f"{heading}\n\n{TUTORIAL_HEAD}\n{text}\n"


def _output(output: dict[str, Any]) -> str:
    if "text" in output:
        return f"```text\n{''.join(output['text']).rstrip()}\n```"
    data = output.get("data", {})
    if "image/png" in data:
        return f'<img alt="what the cell draws" src="data:image/png;base64,{"".join(data["image/png"]).strip()}">'
    if "text/html" in data:
        return re.sub(r"<style.*?</style>|\n\s*", "", "".join(data["text/html"]), flags=re.DOTALL)
    return f"```text\n{''.join(data['text/plain']).rstrip()}\n```" if "text/plain" in data else ""


def _help(main: Any, verb: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main([verb, "--help"])
    return said.getvalue()


def _source(uri: str) -> str:
    """Return the clone's file that a page is made of."""
    return {**FROM_CLONE, TUTORIAL: NOTEBOOK}.get(uri, f"docs/{uri}")


def _page(path: str) -> str:
    """Return the page, or the file beside the pages, that a file of the clone is on the site."""
    made = {source: uri for uri, source in {**FROM_CLONE, TUTORIAL: NOTEBOOK}.items()}
    return made.get(path, path.removeprefix("docs/"))
