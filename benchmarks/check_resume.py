"""Check that a run that kill -9 ends, and that is resumed, comes to the weights of an unbroken one.

    python benchmarks/check_resume.py RESULT.json

Trains LeNet on scikit-learn's digits for three epochs, once unbroken and once killed as the second epoch begins and
then resumed, in runs/unbroken and runs/resumed of the current folder, on the backend that KERAS_BACKEND names. Prints
and writes {"bit_for_bit": whether all weights are the same, "largest_difference": between them}. Exit status 1 if the
difference is more than 1e-4, or a run failed.

On a GPU, XLA is told to take only operations that add up in the same order every time: without that, no two runs have
the same bits. The first two runs go at the same time, so each takes a part of the GPU's memory only.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "1.LeNet/lenet.py"
COMMAND = ["--data", "digits", "--epochs", "3", "--batch-size", "32"]
KILLED = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from ensemble.common.scripts import import_script

script = import_script({SCRIPT!r})
script.read_settings([])

class KillAfterFirstEpoch(script.keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)

script.train(*script.read_settings(sys.argv[1:]), callbacks=[KillAfterFirstEpoch()])
"""
REPEATABLE = {"XLA_FLAGS": "--xla_gpu_deterministic_ops=true", "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.3"}


def weights(file):
    """Return {name: array} of a model's file."""
    found = {}

    def keep(name, node):
        if isinstance(node, h5py.Dataset):
            found[name] = node[()]

    with h5py.File(file) as model:
        model.visititems(keep)
    return found


def start(program, run):
    environment = {**os.environ, **REPEATABLE}
    return subprocess.Popen([sys.executable, *program, *COMMAND, "--run", run], env=environment)


def main():
    result_file = Path(sys.argv[1])
    script = str(ROOT / SCRIPT)
    unbroken, killed = start([script], "unbroken"), start(["-c", KILLED], "resumed")
    statuses = [unbroken.wait(), killed.wait()]
    if statuses != [0, -signal.SIGKILL]:
        sys.exit(f"the unbroken run ended with status {statuses[0]}, the one to be killed with {statuses[1]}")
    if start([script], "resumed").wait():
        sys.exit("the killed run could not be resumed")
    first, second = (weights(Path("runs") / run / "model.h5") for run in ("unbroken", "resumed"))
    largest = max(float(np.abs(first[name] - second[name]).max()) for name in first)
    result = {"bit_for_bit": all(np.array_equal(first[name], second[name]) for name in first)}
    result["largest_difference"] = largest
    print(json.dumps(result))
    result_file.write_text(json.dumps(result) + "\n", encoding="utf-8")
    sys.exit(largest > 1e-4)


if __name__ == "__main__":
    main()
