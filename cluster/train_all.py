"""Train many networks: on this machine, on a Ray cluster, or by SLURM.

    python cluster/train_all.py members.csv                                            # here, one after the other
    python cluster/train_all.py members.csv --parallel 4                               # here, four side by side
    python cluster/train_all.py members.csv --engine ray --address 10.0.0.1:6379       # a cluster's free CPUs or GPUs
    python cluster/train_all.py members.csv --engine slurm                             # an sbatch array

members.csv has a line for each run, and a first line:

    script,run,settings
    1.LeNet/lenet.py,lenet-0,--data digits --epochs 20
    4.ResNet/resnet.py,resnet-0,"--data digits --depth 8 --augment flip,shift --seed 1"

Every run is the script itself in a process of its own, as if its command were given: it leaves the same files in
runs/NAME/, resumes from its last finished epoch, and when finished is not trained again. Settings that a script refuses
are refused before any training; what it says of its images, when its turn comes. A run that fails is named, and the
others go on; the same command trains what is left. On several machines runs/, the images and the repository must be on
storage that all share, under the same paths.
"""

import multiprocessing
import os
import shlex
import signal
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from cluster.drive import train_all
from cluster.engines import add_engine_options, open_engine
from cluster.plan import read_members
from ensemble.common.command import new_parser, refuse, run_command
from ensemble.common.scripts import ROOT


def print_table(runs, results):
    """Print a line for each run, with its scores or why it has none. results: {folder: run.json or an exception}."""
    width = max(len(str(run.folder)) for run in runs)
    across = max(6, *(len(run.script.stem) for run in runs))
    print(f"\n{'run':{width}}  {'script':{across}}  epochs  validation, %  minutes")
    for run in runs:
        result = results[run.folder]
        line = f"{run.folder!s:{width}}  {run.script.stem:{across}}  "
        if isinstance(result, Exception):
            print(f"{line}not finished: {result}")
        else:
            accuracy, minutes = 100 * result["validation"]["accuracy"], result["seconds"] / 60
            print(f"{line}{run.epochs:6}{accuracy:15.2f}{minutes:9.1f}")


def main():
    parser = new_parser(__doc__)
    parser.add_argument("members", metavar="members.csv", help="the table of runs")
    add_engine_options(parser)
    options = parser.parse_args()
    print("Loading Keras and the settings ...", flush=True)
    alone = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), signal.signal, (signal.SIGINT, signal.SIG_IGN))
    with alone:  # in a process of its own, with which the memory that Keras takes ends
        runs = alone.submit(read_members, options.members).result()
    with open_engine(options) as engine:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # now, since Ray sets one of its own
        results = {}
        for run, result in train_all(runs, engine):
            results[run.folder] = result
            if isinstance(result, Exception):
                print(f"{run.folder} did not finish: {result}", flush=True)
    print_table(runs, results)
    finished = [run.folder / "model.h5" for run in runs if not isinstance(results[run.folder], Exception)]
    if len(finished) > 1:
        command = shlex.join(["python", os.path.relpath(ROOT / "ensemble/compare.py"), *map(str, finished)])
        print(f"\nTo combine them:\n{command}")
    failed = [str(run.folder) for run in runs if isinstance(results[run.folder], Exception)]
    if failed:
        refuse(f"{len(failed)} of {len(runs)} runs did not finish: {', '.join(failed)}; the same command goes on")


if __name__ == "__main__":
    run_command(main, "the same command goes on from the last finished epochs")
