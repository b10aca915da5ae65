"""Train one run on several machines, by JAX: start its processes, watch them, and end them all when one is lost.

    python cluster/together.py --hosts node1,node2 4.ResNet/resnet.py --run together
    python cluster/together.py --hosts localhost,localhost 1.LeNet/lenet.py --data digits     # a trial on this machine

What follows the hosts is a training script and its options. Every host gets one process, which uses all its GPUs, or
else its CPU. It is reached by ssh, without a password, and has this folder and this Python under the same paths:
shared storage. The first host writes the run; the others reach it under its name, at --port.

When a process is lost, the others end, with one line and status 2, and the same command goes on from the last finished
epoch; a machine that is cut off is noticed within 100 seconds. They also end when this command does, in whatever way.

Under SLURM and Open MPI the scripts need no such command:

    KERAS_BACKEND=jax srun --kill-on-bad-exit python 4.ResNet/resnet.py --run together
    KERAS_BACKEND=jax mpirun python 4.ResNet/resnet.py --run together

- JAX then takes one GPU a process, by the process's number on its machine: start as many on a machine as it has GPUs,
  all visible to each.
- Of SLURM the tasks of a step train together. A batch script, the tasks of an array, and `srun --ntasks=1` are runs of
  their own, whatever their job has. So are the tasks of one step with KERAS_DISTRIBUTION_NUM_PROCESSES=1; without it
  they refuse to train different runs.
- Keras' own variables come before mpirun's, and those before SLURM's: KERAS_DISTRIBUTION_NUM_PROCESSES,
  KERAS_DISTRIBUTION_PROCESS_ID, and KERAS_DISTRIBUTION_JOB_ADDRESSES, HOST:PORT of the first (Open MPI 5 needs it).
"""

import os
import queue
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import RefusedError, new_parser, run_command

PORT = 29400  # of the first host, when the hosts are several
GRACE = 3.0  # seconds for the others to end, each with its own words, after the first has ended with a fault
SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ServerAliveInterval=5")  # asks nothing; ends 15 s after a host is cut off
# A shell becomes the command and keeps its number, $$. A second shell kills that number when stdin ends, by Watched.end
# or with this process or ssh. It reads it as 3, since a shell takes stdin away from what runs beside it
UNTIL_STDIN_ENDS = 'exec 3<&0; (read _ <&3; kill -9 $$) > /dev/null 2>&1 & exec "$@" < /dev/null 3<&-'
GOES_ON = "the same command goes on from the last finished epoch"
# What the script, or JAX when it aborts, says of the loss of another process
OF_ANOTHER = re.compile(r".*another process of this run is lost|F\d{4} .*JAX distributed service", re.DOTALL)


class Watched:
    """A process of the run, on its host: its words on stderr, and afterwards its status.

    ended: the queue that it is put into when it has ended. The first process's words go to stderr as they come.
    """

    def __init__(self, number, host, environment, command, ended):
        self.number, self.host, self.ended = number, host, ended
        self.words, self.lost_another, self.status = [], False, None
        command = ["sh", "-c", UNTIL_STDIN_ENDS, "sh", "env", *environment, *command]
        if host != "localhost":
            command = [*SSH, host, f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(command)}"]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=None if number == 0 else subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is this command's
        )
        Thread(target=self.watch, daemon=True).start()

    def watch(self):
        for line in self.process.stderr:
            self.lost_another = self.lost_another or bool(OF_ANOTHER.match(line))
            if not self.lost_another:  # after that come addresses
                self.words += [line.strip()] if line.strip() else []
                if self.number == 0:
                    print(line, end="", file=sys.stderr, flush=True)
        self.status = self.process.wait()
        self.end()
        self.ended.put(self)

    def end(self):
        """Close its stdin, upon which the second shell kills it, if it is still there."""
        if not self.process.stdin.closed:
            self.process.stdin.close()

    def fault(self):
        """Return in one line how it ended."""
        how = f"signal {signal.Signals(-self.status).name}" if self.status < 0 else f"status {self.status}"
        last = f": {self.words[-1]}" if self.words else ""
        if self.status == 255 and self.host != "localhost":  # ssh's own
            return f"{self.host} of --hosts cannot be reached by ssh{last}"
        return f"process {self.number} on {self.host} is lost ({how}{last}); {GOES_ON}"


def main():
    parser = new_parser(__doc__)
    parser.add_argument("--hosts", required=True, help="names of the machines, with commas; localhost is this one")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the first host, for the others ({PORT})")
    parser.add_argument("script", nargs="...", help="the training script, and its options")
    options = parser.parse_args()
    hosts = options.hosts.split(",")
    if "" in hosts or ("localhost" in hosts and set(hosts) != {"localhost"}):
        raise RefusedError(f"--hosts {options.hosts}: give names under which each machine reaches the others")
    script = Path(options.script[0]) if options.script else None
    if not (script and script.is_file() and script.suffix == ".py"):
        raise RefusedError(f"{script or 'nothing'} is no training script; give one, such as 4.ResNet/resnet.py")
    if not find_spec("jax"):
        raise RefusedError('JAX, by which processes train together, is missing: pip install jax, or "jax[cuda13]"')
    port = options.port
    if hosts[0] == "localhost":
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
    ended, running = queue.Queue(), []
    try:
        for number, host in enumerate(hosts):
            own = ("KERAS_", "JAX_", "XLA_")  # ssh takes none along
            variables = {name: value for name, value in os.environ.items() if name.startswith(own)} | {
                "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax"),
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"{hosts[0]}:{port}",
                "KERAS_DISTRIBUTION_NUM_PROCESSES": len(hosts),
                "KERAS_DISTRIBUTION_PROCESS_ID": number,
            }
            environment = [f"{name}={value}" for name, value in variables.items()]
            running.append(Watched(number, host, environment, [sys.executable, *options.script], ended))
        wait_for_all(running, ended)
    finally:
        for process in running:
            process.end()


def wait_for_all(running, ended):
    """Wait until all processes have ended, or GRACE after a fault; then say whose that was, and exit with status 2."""
    done, deadline = [], None
    while len(done) < len(running):
        try:
            done.append(ended.get(timeout=max(0, deadline - time.monotonic()) if deadline else None))
        except queue.Empty:
            break
        if done[-1].status and not deadline:
            deadline = time.monotonic() + GRACE
    faults = [process for process in done if process.status]
    if not faults:
        return
    own = sorted((process for process in faults if not process.lost_another), key=lambda process: process.number)
    if not own:
        raise RefusedError(f"a process of this run is lost, or its machine is cut off; {GOES_ON}")
    if own[0].status == 2 and own[0].words:  # the script has refused, in a line of its own
        if own[0].number > 0:
            print(own[0].words[-1], file=sys.stderr)
        sys.exit(2)
    raise RefusedError(own[0].fault())


if __name__ == "__main__":
    run_command(main, GOES_ON)
