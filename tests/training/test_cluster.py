import json

import pytest

from training.cluster import Cluster, cluster_of
from training.fit import main
from wafer_tf.errors import UsageError


def _environment(cluster: object, kind: object = "worker", index: object = 0) -> dict[str, str]:
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, None),
        ({"TF_CONFIG": " "}, None),
        ({"TF_CONFIG": "{}"}, None),
        (_environment({"worker": ["a:1"]}), None),
        (_environment({"worker": ["a:1", "b:1"]}), Cluster(("a:1", "b:1"), 0)),
        (_environment({"worker": ["a:1", "b:1"]}, index="1"), Cluster(("a:1", "b:1"), 1)),
        (
            _environment({"worker": ["[::1]:1", "b:1"], "chief": ["c:9"]}, index=0),
            Cluster(("c:9", "[::1]:1", "b:1"), 1),
        ),
        (_environment({"worker": ["b:1"], "chief": ["c:9"]}, kind="chief"), Cluster(("c:9", "b:1"), 0)),
    ],
)
def test_a_cluster_is_found_where_there_are_two_or_more(environment: dict[str, str], found: Cluster | None) -> None:
    assert cluster_of(environment) == found


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"TF_CONFIG": "{"}, "is not JSON"),
        ({"TF_CONFIG": "[]"}, "names no cluster"),
        ({"TF_CONFIG": '{"cluster": []}'}, "names no cluster"),
        (_environment({"ps": ["a:1"], "worker": ["b:1"]}), "has tasks of type ps; training knows chief and worker"),
        (_environment({"worker": []}), "names as worker []"),
        (_environment({"worker": "a:1"}), "names as worker 'a:1'; expected a list of HOST:PORT"),
        (_environment({"worker": ["a", "b:1"]}), "expected a list of HOST:PORT"),
        (_environment({"worker": ["a:1", "b:70000"]}), "expected a list of HOST:PORT"),
        (_environment({"worker": ["a:1", "a:1"]}), "an address twice"),
        (_environment({"chief": ["a:1", "b:1"], "worker": ["c:1"]}), "names 2 chiefs"),
        (_environment({"chief": ["a:1"]}, kind="chief"), "names no worker"),
        (_environment({"worker": ["a:1", "b:1"]}, index=2), "this process is worker 2"),
        (_environment({"worker": ["a:1", "b:1"]}, index=True), "this process is worker True"),
        (_environment({"worker": ["a:1", "b:1"]}, index=[]), "this process is worker []"),
        (_environment({"worker": ["a:1", "b:1"]}, kind="chief"), "this process is chief 0"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1", "b:1"]}}'}, "this process is None None"),
    ],
)
def test_a_wrong_tf_config_is_refused_with_what_is_wrong_and_what_is_expected(
    environment: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError) as caught:
        cluster_of(environment)
    assert says in str(caught.value)
    assert '{"cluster": {"worker": ["HOST:PORT", ...]}' in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--folds", "3"], "give each machine a --fold K/N"),
        (["--precision", "mixed_float16"], "expected float32 or mixed_bfloat16"),
        ([], "--out: expected under TF_CONFIG"),
    ],
)
def test_what_several_processes_cannot_train_is_refused_before_they_meet(
    flags: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object
) -> None:
    monkeypatch.setenv("TF_CONFIG", _environment({"worker": ["127.0.0.1:1", "127.0.0.1:2"]})["TF_CONFIG"])
    out = ["--out", f"{tmp_path}/run"] if flags else []
    assert main([*flags, *out]) == 2
    assert says in capsys.readouterr().err


def test_a_command_under_a_wrong_tf_config_ends_as_one_with_a_wrong_flag(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{")
    assert main(["--smoke"]) == 2
    assert "error: TF_CONFIG is not JSON" in capsys.readouterr().err
