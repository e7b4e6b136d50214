"""docs/howto/many-machines.md: the files to copy do what the page says."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import ROOT
from training.cluster import Cluster, cluster_of
from training.fit import config_of

BLOCKS = dict(
    re.findall(
        r"^```(sh|bash|yaml)\n(.*?)^```$",
        (ROOT / "docs" / "howto" / "many-machines.md").read_text(encoding="utf-8"),
        re.DOTALL | re.MULTILINE,
    )
)


def script(name: str) -> str:
    """Return what a job of the page runs, with its paths below the current folder."""
    if name == "sh":
        return BLOCKS["sh"]
    (container,) = yaml.safe_load(BLOCKS["yaml"])["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    (text,) = container["args"]
    return str(text).replace("/work/runs", "runs").replace("python3 -m wafer_tf", "wafer-tf")


@pytest.mark.parametrize(
    ("name", "index"), [("sh", {"SLURM_ARRAY_TASK_ID": "3"}), ("yaml", {"JOB_COMPLETION_INDEX": "2"})]
)
def test_a_job_trains_its_fold_and_goes_on_with_it_when_started_again(
    name: str, index: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "wafer-tf").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "wafer-tf").chmod(0o755)

    def run() -> list[str]:
        environment = index | {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(
            ["sh", "-c", script(name)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return shlex.split(done.stdout)

    verb, *flags = run()
    assert verb == "fit"
    config = config_of(flags[:-2])
    assert (config.fold, config.split_seed, flags[-1]) == ("3/5", 0, "runs/fold-3")
    (tmp_path / "runs" / "fold-3").mkdir(parents=True)
    (tmp_path / "runs" / "fold-3" / "config.json").touch()
    assert run() == ["fit", "--resume", "runs/fold-3"]


def test_a_joint_job_names_its_processes_to_each_of_them(tmp_path: Path) -> None:
    stubs = {
        "scontrol": 'test "$*" = "show hostnames n[1-2]" && printf "n1\\nn2\\n"',
        "srun": 'shift; SLURM_PROCID=0 "$@"; mkdir -p runs/joint; touch runs/joint/config.json; SLURM_PROCID=1 "$@"',
        "wafer-tf": 'echo $TF_CONFIG; echo "$@"',
    }
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"SLURM_JOB_NODELIST": "n[1-2]", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(
        ["bash", "-c", BLOCKS["bash"]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    first, fresh, second, again = done.stdout.splitlines()
    assert cluster_of({"TF_CONFIG": first}) == Cluster(("n1:2222", "n2:2222"), 0)
    assert cluster_of({"TF_CONFIG": second}) == Cluster(("n1:2222", "n2:2222"), 1)
    verb, *flags, _, run = shlex.split(fresh)
    assert (verb, config_of(flags).split_seed, run) == ("fit", 0, "runs/joint")
    assert again == "fit --resume runs/joint"


def test_as_many_jobs_start_as_there_are_folds() -> None:
    assert "#SBATCH --array=1-5\n" in BLOCKS["sh"]
    job = yaml.safe_load(BLOCKS["yaml"])["spec"]
    assert (job["completionMode"], job["completions"]) == ("Indexed", 5)
