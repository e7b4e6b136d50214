"""List the licences of all that is installed, and refuse one that is not allowed: make licences.

A licence is what the package's own metadata says: a License-Expression, else the words of License, else a classifier.
"""

import re
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

from tools.lock import ROOT, canonical, pinned

PAGE = ROOT / "docs" / "reference" / "licences.md"
OURS = {"wafer-tf", "pip"}  # pip comes with Python
NEEDED_BY = {
    "a station": "requirements-station.lock",
    "training and page": "requirements.lock",
    "development": "requirements-dev.lock",
}
"""Who needs a package, the smallest set first, and the lock that names it."""
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU"),
    *("MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"),
    "BSD",  # the words name no number of clauses
}
SAME_AS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD 3-Clause": "BSD-3-Clause",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "ISC license": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
"""Words that packages use for an SPDX expression."""
READ_IN_THE_FILE = {("namex", "0.1.0"): "Apache-2.0", ("sigstore-models", "0.0.6"): "MIT"}
"""Licences of packages whose metadata is silent, read in their LICENSE by hand; of one version each."""
LONGEST_NAME = 60  # characters; License may hold the whole text
TEXT = """# Licences of what it needs

Made of the installed packages by `make licences`, not to be edited. A test compares this page with what is installed,
and holds each licence to the list of allowed ones in `tools/licences.py`.

{}

The licence is what the package says of itself. None of these asks for the sources of a program that uses the package.
MPL-2.0 asks for the sources of its own files, where somebody changes them and passes them on.

Wheels also hold libraries of others, under licences of their own: opencv-python-headless holds FFmpeg (LGPL-2.1),
numpy and scipy hold libgfortran (GPL-3.0 with GCC's runtime exception). Their texts lie in the installed package. An
image holds these too. `make sbom` writes the same list for machines.

| package | version | licence | needed for |
| --- | --- | --- | --- |
{}
"""


class Package(NamedTuple):
    """A package that is installed."""

    name: str
    version: str
    licence: str
    needed_for: str


def licence(package: Distribution) -> str:
    """Return the licence that a package tells, as an SPDX expression where its words are known, else the words."""
    told = package.metadata.get_all
    words = "".join(told("License") or []).strip()
    classifiers = [text.split(" :: ")[-1] for text in told("Classifier") or [] if text.startswith("License :: ")]
    ways = (
        "".join(told("License-Expression") or []),
        words if words != "UNKNOWN" and len(words) <= LONGEST_NAME else "",
        " AND ".join(SAME_AS.get(name, name) for name in classifiers),
        READ_IN_THE_FILE.get((canonical(package.name), package.version)),
    )
    first = next((way for way in ways if way), "not told")
    return SAME_AS.get(first, first)


def unknown(expression: str) -> list[str]:
    """Return the licences of an expression that are not allowed; of alternatives too.

    Example:
        >>> unknown("MIT AND (GPL-3.0-only OR ISC)")
        ['GPL-3.0-only']
    """
    names = re.split(r" AND | OR |[()]", expression)
    return [name.strip() for name in names if name.strip() and name.strip() not in ALLOWED]


def packages(found: Iterable[Distribution]) -> list[Package]:
    """Return what is installed, this project apart, by name."""
    needed = {who: pinned((ROOT / lock).read_text(encoding="utf-8")) for who, lock in NEEDED_BY.items()}
    listed = []
    for package in found:
        name = canonical(package.name)
        if name not in OURS:
            who = next((who for who, names in needed.items() if name in names), "nothing: in no lock")
            listed.append(Package(name, package.version, licence(package), who))
    return sorted(set(listed))


def faults(listed: Iterable[Package]) -> list[str]:
    """Return a line for each package whose licence is not allowed."""
    return [
        f"{package.name} {package.version}: {', '.join(bad)} is not an allowed licence. Read it; then add it to "
        "ALLOWED, its words to SAME_AS, or do without the package"
        for package in listed
        if (bad := unknown(package.licence))
    ]


def page(listed: list[Package]) -> str:
    """Return the page that lists them."""
    counts = ", ".join(
        f"{sum(package.needed_for == who for package in listed)} {'' if who == 'a station' else 'more '}for {who}"
        for who in NEEDED_BY
    )
    rows = "\n".join(f"| {' | '.join(package)} |" for package in listed)
    return TEXT.format(f"{len(listed)} packages: {counts}.", rows)


def main() -> int:
    """Write the page, unless a licence is not allowed."""
    listed = packages(distributions())
    if bad := faults(listed):
        print("\n".join(bad), file=sys.stderr)
        return 1
    PAGE.write_text(page(listed), encoding="utf-8")
    print(f"{Path('docs/reference') / PAGE.name}: {len(listed)} packages", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
