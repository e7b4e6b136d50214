"""TF_CONFIG: which processes train one model together, and which of them this is.

The variable is TensorFlow's, and what schedules jobs sets it:
`{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wafer_tf.errors import UsageError

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")
"""In the order of the ranks; whoever has rank 0 leads."""
FORM = '{"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": N}}'


@dataclass(frozen=True)
class Cluster:
    """The processes that train together.

    Attributes:
        addresses: HOST:PORT of each, in the order of their ranks; two or more.
        rank: of this process, from 0.
    """

    addresses: tuple[str, ...]
    rank: int

    @property
    def leads(self) -> bool:
        """Whether this process is the chief, which alone writes the run folder."""
        return self.rank == 0


def cluster_of(environment: Mapping[str, str]) -> Cluster | None:
    """Return the cluster that TF_CONFIG names; None where it names none, or this process alone.

    Args:
        environment: such as os.environ.

    Returns:
        What is said there of two processes or more.

    Raises:
        UsageError: it is not what TensorFlow takes, or asks for what training does not do.

    Examples:
        >>> workers = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}'
        >>> cluster_of({"TF_CONFIG": workers})
        Cluster(addresses=('a:1', 'b:1'), rank=1)
        >>> cluster_of({})
    """
    text = environment.get(VARIABLE, "").strip()
    if not text:
        return None
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"is not JSON ({error})") from None
    jobs = told.get("cluster", {}) if isinstance(told, dict) else None
    if not isinstance(jobs, dict):
        raise _wrong("names no cluster")
    if not jobs:
        return None
    if unknown := set(jobs) - set(JOBS):
        raise _wrong(f"has tasks of type {', '.join(sorted(unknown))}; training knows chief and worker")
    for job, addresses in jobs.items():
        if not isinstance(addresses, list) or not addresses or not all(map(_is_address, addresses)):
            raise _wrong(f"names as {job} {addresses!r}; expected a list of HOST:PORT")
    if len(jobs.get("chief", [])) > 1:
        raise _wrong(f"names {len(jobs['chief'])} chiefs; expected one")
    if "worker" not in jobs:
        raise _wrong("names no worker")
    everyone = [(job, index) for job in JOBS for index in range(len(jobs.get(job, [])))]
    addresses = tuple(jobs[job][index] for job, index in everyone)
    if len(set(addresses)) < len(addresses):
        raise _wrong("names an address twice")
    task = told.get("task")
    kind, index = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    number = int(index) if isinstance(index, str) and index.isdecimal() else index
    if not isinstance(kind, str) or type(number) is not int or (kind, number) not in everyone:
        raise _wrong(f"says that this process is {kind} {index}, which its cluster does not have")
    return Cluster(addresses, everyone.index((kind, number))) if len(addresses) > 1 else None


def _is_address(text: Any) -> bool:
    host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    return bool(host) and port.isdecimal() and 0 < int(port) < 2**16


def _wrong(what: str) -> UsageError:
    return UsageError(f"{VARIABLE} {what}. It must be {FORM}; to train with this process alone, unset it.")
