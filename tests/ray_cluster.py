"""A Ray cluster of three nodes on this machine, one of which is killed in mid-run: `make cluster-test`.

Not among the tests of `make test`, since it needs requirements-cluster.txt. Without Ray it fails.
"""

import os
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}  # read when Ray is imported
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0"}

import ray.cluster_utils
from conftest import ROOT, run_script, write_small_script
from test_cluster import COMMAND, STAND_IN, starts

NETWORKS = ("a", "b", "c")
SETTINGS = "--data digits --epochs 6 --batch-size 32 --precision float32"


@pytest.fixture
def cluster():
    """Three nodes with a CPU each, which want a token."""
    nodes = ray.cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def ancestors(pid):
    """The numbers of a process's parent, its parent, and so on."""
    found = []
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        found.append(pid)
    return found


def trained_under(node):
    """{run: process} of the networks that a node trains now."""
    [raylet] = node.all_processes["raylet"]
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes().decode().split("\0")
            if f"small_{os.getpid()}.py" in command and raylet.process.pid in ancestors(int(path.name)):
                [run] = [argument[6:] for argument in command if argument.startswith("--run=")]
                found[run] = int(path.name)
        except OSError:  # it has just ended
            continue
    return found


def test_a_node_is_killed_and_all_networks_are_those_of_sequential_runs(cluster, tmp_path):
    script = write_small_script(tmp_path / f"small_{os.getpid()}.py", dropout=0.3)
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    rows = [f"{script.name},{run},{SETTINGS} --seed {seed}" for seed, run in enumerate(NETWORKS)]
    rows += ["stand_in.py,d,--way=refuse", "stand_in.py,e,--way=kill-once"]
    (tmp_path / "members.csv").write_text("\n".join(["script,run,settings", *rows]) + "\n")
    command = [sys.executable, ROOT / COMMAND, "members.csv", "--engine", "ray", "--address", cluster.address]
    driver = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    killed = None
    _, *others = cluster.list_all_nodes()
    while killed is None:
        assert driver.poll() is None, driver.communicate()
        for node in others:
            for run, pid in trained_under(node).items():
                folder = tmp_path / "runs" / run
                if (folder / "backup.npz").exists() and not (folder / "model.h5").exists():
                    killed = killed or (node, run, pid)
        time.sleep(0.05)
    node, run, pid = killed
    cluster.remove_node(node, allow_graceful=False)
    until = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists():  # it does not outlive its node
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not (tmp_path / "runs" / run / "run.json").exists()

    printed, errors = driver.communicate(timeout=600)
    assert driver.returncode == 2, printed + errors
    assert errors == "train_all.py: 1 of 5 runs did not finish: runs/d; the same command goes on\n"
    assert "stand_in.py: the loss is nan" in printed and starts(tmp_path, "d") == 1  # a refusal is not retried
    assert "runs/e was ended by SIGKILL; it goes on" in printed and starts(tmp_path, "e") == 2
    for seed, run in enumerate(NETWORKS):
        run_script(script, *SETTINGS.split(), "--seed", seed, "--run", f"alone-{run}", cwd=tmp_path)
        found, expected = (tmp_path / "runs" / name / "model.h5" for name in (run, f"alone-{run}"))
        assert found.read_bytes() == expected.read_bytes()


def test_nothing_at_the_address_is_one_line(tmp_path):
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "members.csv").write_text("script,run,settings\nstand_in.py,a,\n")
    given = [sys.executable, ROOT / COMMAND, "members.csv", "--engine", "ray", "--address", "127.0.0.1:9"]
    done = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "no Ray cluster answers at 127.0.0.1:9" in done.stderr
