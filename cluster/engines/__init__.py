"""Where runs are trained, and the options that say so.

An engine is a context manager, at whose end its runs end too, with

submit(run)     start a run, now or when there is room; return a concurrent.futures.Future of what train() of
                cluster/process.py returns: None when the run is finished, or else why not
parallel        how many runs to submit at once
retries         whether a run that died is to be submitted again
"""

import argparse
import math
import re

from cluster.engines.here import Here
from cluster.engines.ray_engine import RayEngine
from cluster.engines.slurm import Slurm
from ensemble.common.command import refuse

PARALLEL = 1  # runs side by side on this machine; of more, each is slower


def whole_number(text):
    """Return the number from 1 to 10,000 that a text is, for argparse."""
    if not re.fullmatch(r"0{0,9}([1-9][0-9]{0,3}|10000)", text):
        raise argparse.ArgumentTypeError(f"{text[:200]!r} is no whole number from 1 to 10000")
    return int(text)


def add_engine_options(parser, parallel=PARALLEL):
    """Add the options of all commands that train runs. parallel: how many side by side on this machine."""
    text = "where runs are trained: here, on a Ray cluster, or by SLURM (now %(default)s)"
    parser.add_argument("--engine", choices=("here", "ray", "slurm"), default="here", help=text)
    text = "the Ray cluster to join, as `ray start` shows it; without, one of this machine alone"
    parser.add_argument("--address", metavar="HOST:PORT", help=text)
    text = f"runs side by side (now {parallel} here, and as many as there is room for on a cluster)"
    parser.add_argument("--parallel", type=whole_number, help=text)
    parser.set_defaults(parallel_here=parallel)


def open_engine(options):
    """Return the engine that these options ask for, or refuse them."""
    if options.address and options.engine != "ray":
        refuse(f"--address {options.address} is a Ray cluster's: give --engine ray too, or leave it out")
    if options.engine == "here":
        return Here(options.parallel or options.parallel_here)
    if options.engine == "ray":
        return RayEngine(options.address, options.parallel or math.inf)
    return Slurm(options.parallel or math.inf)
