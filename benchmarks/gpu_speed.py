"""Measure networks on a GPU, in the order given, until all are measured or somebody stops it.

    python benchmarks/gpu_speed.py DATA.npz MEASUREMENTS.jsonl SECONDS NETWORK:WAY ...

NETWORK is a name in training.py's NETWORKS. WAY is `jax`, the network's script as a user starts it, on JAX; `fixed`,
the same with one batch that was made before; `eager` or `compiled`, PyTorch with the batch size, recipe and precision
that `jax` had, which comes before them.

Each measurement is a process of its own and, as soon as it is made, a line of MEASUREMENTS.jsonl: {"network": ...,
"way": ..., "images_per_second": ..., "memory": resident, "gpu_memory": allocated on the GPU, if there is one, both the
most, in GiB, ...}, or {"network": ..., "way": ..., "failed": true}. What the file has is not measured again, so the
same command goes on where it was stopped. Exit status 1 if any failed.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from benchmarks.training import HERE, NETWORKS, measure
from ensemble.common.command import refuse, run_command

PYTORCH = {"eager": [], "compiled": ["compiled"]}  # and the options of train_in_pytorch.py
KERAS = {"jax": "ours", "fixed": "fixed"}  # and what train_in_keras.py calls them


def read_measurements(file):
    """Return {(network, way): measurement} of a file that need not exist."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return {(line["network"], line["way"]): line for line in map(json.loads, lines)}


def command(network, way, data, seconds, before):
    """Return the command of one measurement; None if it needs the measurement `before` on JAX, which failed."""
    if way in KERAS:
        return [sys.executable, HERE / "train_in_keras.py", KERAS[way], data, seconds, *NETWORKS[network].split()]
    if "recipe" not in before:
        return None
    precision = ["bfloat16"] if before["precision"] == "mixed_bfloat16" else []
    program = [sys.executable, HERE / "train_in_pytorch.py", network, data, seconds]
    return [*program, *before["recipe"], *precision, *PYTORCH[way]]


def main():
    data, file, seconds, *wanted = sys.argv[1:]
    file, failed = Path(file), False
    for pair in wanted:
        network, _, way = pair.partition(":")
        if network not in NETWORKS or way not in KERAS | PYTORCH:
            refuse(f"{pair}: give NETWORK:WAY, of {', '.join(NETWORKS)} and {', '.join(KERAS | PYTORCH)}")
        done = read_measurements(file)
        if (network, way) in done:
            continue
        program = command(network, way, data, seconds, done.get((network, "jax"), {}))
        result = measure(program, "jax") if program else None
        line = {"network": network, "way": way, **(result or {"failed": True})}
        failed |= not result
        print(json.dumps(line), flush=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(line) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    run_command(main)
