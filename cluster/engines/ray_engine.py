"""Runs on the free CPUs or GPUs of a Ray cluster."""

import os
import socket
import sys

from cluster.process import Watcher, new_task, train
from ensemble.common.command import refuse, short
from ensemble.common.scripts import ROOT

CPUS = 1  # of a run
GPUS = 1  # of a run, where the cluster has any
ANSWER = 10.0  # seconds in which the cluster must answer


class RayEngine:
    """An engine that has a Ray cluster train runs. address: HOST:PORT of one, or None for one of this machine alone.

    When a node is lost, Ray itself starts its runs on another.
    """

    retries = True

    def __init__(self, address, parallel):
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ImportError:
            refuse("Ray is not installed: pip install -r requirements-cluster.txt")
        if os.environ.get("RAY_AUTH_MODE") != "token":
            line = "without RAY_AUTH_MODE=token whoever reaches this Ray cluster's ports can run code on it"
            print(f"warning: {line} (see cluster/README.md)", file=sys.stderr)
        if address:
            check_answers(address)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        own = {} if address else {"include_dashboard": False}
        try:
            # Always an address: without one, Ray joins the cluster that it last saw on this machine
            ray.init(
                address=address or "local",
                runtime_env={"env_vars": {"PYTHONPATH": path}},  # where the nodes find the package cluster
                logging_level="ERROR",
                log_to_driver=False,
                **own,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            refuse(f"the Ray cluster {address or 'of this machine'} cannot be used: {short(error)}")
        self.ray, self.parallel = ray, parallel
        gpus = GPUS if ray.cluster_resources().get("GPU") else 0
        self.train = ray.remote(num_cpus=CPUS, num_gpus=gpus, max_retries=-1)(train_on_node)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ray.shutdown()  # which ends the runs, too

    def submit(self, run):
        return self.train.options(name=run.label).remote(new_task(run)).future()


def check_answers(address):
    """Refuse an address at which nothing answers: ray.init would try it for more than ten minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), ANSWER).close()
    except (OSError, ValueError, OverflowError) as error:
        refuse(
            f"no Ray cluster answers at {address} ({error}); give --address HOST:PORT as `ray start --head` shows it"
        )


def train_on_node(task):
    """Train a run, on whichever node Ray calls this."""
    return train(task, Watcher())
