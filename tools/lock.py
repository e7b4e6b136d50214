"""Write a lock beside every list of requirements: its versions with the hashes of all their files. make lock.

The versions come from constraints.txt and from the lists themselves; nothing is chosen here that they leave open.
"""

import re
import subprocess
import sys
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13")
MACHINES = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
COMPLETE = {"requirements-station": "3.10", "requirements-docs": "3.11.5"}
"""Lists that name every version themselves, with a marker where Pythons differ; the oldest Python of each."""
CONSTRAINED = ("requirements", "requirements-dev", "requirements-supply")
"""Lists that name what is imported or run; constraints.txt has the versions below."""
HEAD = "# Made of {} by `make lock`; not to be edited.\n--only-binary :all:\n"
ENTRY = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


def canonical(name: str) -> str:
    """Return a project's name in the one spelling that an index uses.

    Example:
        >>> canonical("ml_dtypes")
        'ml-dtypes'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text: str) -> dict[str, set[str]]:
    """Return the versions that a list, constraints or a lock names, by project.

    Example:
        >>> pinned("tqdm==4.70.1  # bars")
        {'tqdm': {'4.70.1'}}
    """
    found: dict[str, set[str]] = {}
    for name, version in ENTRY.findall(text):
        found.setdefault(canonical(name), set()).add(version)
    return found


def entries(lock: str) -> list[str]:
    """Return what a lock says of each project: its line and those of its hashes.

    Example:
        >>> entries("# made\\na==1 \\\\\\n    --hash=sha256:00\\nb==2\\n")
        ['a==1 \\\\\\n    --hash=sha256:00\\n', 'b==2\\n']
    """
    return [part for part in re.split(r"^(?=\S)", lock, flags=re.MULTILINE) if ENTRY.match(part)]


def resolve(name: str, *flags: str) -> list[str]:
    """Return the entries of one list, as uv finds them."""
    words = ["-m", "uv", "pip", "compile", "--quiet", "--no-config", f"{name}.txt", *flags]
    words += ["--generate-hashes", "--only-binary", ":all:", "--no-annotate", "--no-header"]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}.txt: uv found no versions, for the reason above; no lock was written")
    return entries(done.stdout)


def everywhere(name: str) -> list[str]:
    """Return the entries of one list that any Python on any machine needs; the others then have them too.

    Raises:
        SystemExit: one of them needs another version, so that no lock without markers is right.
    """
    flags = ["--constraints", "constraints.txt", "--python-version"]
    found: set[str] = set()
    for python, machine in product(PYTHONS, MACHINES):
        found |= set(resolve(name, *flags, python, "--python-platform", machine))
    several = [project for project, versions in pinned("".join(found)).items() if len(versions) > 1]
    if several:
        raise SystemExit(f"{name}.txt: {PYTHONS} on {MACHINES} need different versions of {several}")
    return sorted(found)


def main() -> int:
    """Write every lock."""
    locks = {
        name: resolve(name, "--universal", "--no-deps", "--python-version", oldest) for name, oldest in COMPLETE.items()
    }
    locks |= {name: everywhere(name) for name in CONSTRAINED}
    below = set(locks["requirements"])
    locks["requirements-dev"] = [entry for entry in locks["requirements-dev"] if entry not in below]
    for name, found in locks.items():
        includes = "-r requirements.lock\n" if name == "requirements-dev" else ""
        text = HEAD.format(f"{name}.txt") + includes + "".join(found)
        (ROOT / f"{name}.lock").write_text(text, encoding="utf-8")
        print(f"{name}.lock: {len(found)} versions, {text.count('--hash=')} files", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
