"""Runs as the tasks of an sbatch array, by SLURM. Needs nothing in Python.

A folder in runs/, on the shared storage, holds an array's tasks and how each of them ended; squeue says which are still
to come. (sacct would need a database.)
"""

import getpass
import json
import math
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from cluster.process import DiedError, new_task
from ensemble.common.command import RefusedError, refuse, short

TASK = Path(__file__).with_name("slurm_task.py")
LOOK = 2.0  # seconds from one look at the queue to the next
GRACE = 60.0  # seconds for a file of an ended task to come here through the shared storage
LONGEST = 1000  # tasks of an array, which SLURM's MaxArraySize bounds


class Slurm:
    """An engine that has SLURM train runs, `parallel` at once; what was submitted since the last look is one array.

    Resources are what sbatch takes from the environment: SBATCH_PARTITION, SBATCH_GPUS, SBATCH_TIMELIMIT and so on.
    """

    retries = True

    def __init__(self, parallel):
        if not shutil.which("sbatch"):
            refuse("there is no sbatch on this machine; give --engine slurm on one that SLURM takes jobs from")
        self.limit, self.parallel = parallel, math.inf  # SLURM itself counts
        self.state = threading.Lock()  # of self.submitted
        self.submitted = []  # (task, future)
        self.awaited = {}  # (folder of an array, number of a task): future
        self.jobs = {}  # by folder of an array: its job's number
        self.gone = {}  # by the key of awaited: when squeue no longer had it
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look_again_and_again)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Cancel what is not over."""
        self.ended.set()
        self.thread.join()
        if self.awaited:
            subprocess.run(["scancel", *{self.jobs[folder] for folder, _ in self.awaited}], check=False)
        for folder in self.jobs:
            shutil.rmtree(folder, ignore_errors=True)

    def submit(self, run):
        future = Future()
        with self.state:
            self.submitted.append((new_task(run), future))
        return future

    def look_again_and_again(self):
        while not self.ended.wait(LOOK):
            new = self.submitted[:LONGEST]
            with suppress(OSError):  # of the storage: look again
                if new:
                    self.begin(new)
                    with self.state:
                        del self.submitted[: len(new)]
                if self.awaited:
                    self.collect()

    def begin(self, new):
        """Hand (task, future) pairs to SLURM, as one array."""
        Path("runs").mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="runs")).resolve()
        (folder / "tasks.json").write_text(json.dumps([asdict(task) for task, _ in new]), encoding="utf-8")
        at_once = "" if self.limit == math.inf else f"%{self.limit}"
        command = ["sbatch", "--parsable", "--requeue", "--job-name=train_all", f"--array=0-{len(new) - 1}{at_once}"]
        command += [f"--output={folder}/%a.txt", "--wrap", shlex.join(["exec", sys.executable, str(TASK), str(folder)])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            shutil.rmtree(folder)
            for _, future in new:
                future.set_result(RefusedError(short(done.stderr)))
            return
        self.jobs[folder] = done.stdout.strip().split(";")[0]  # NUMBER or NUMBER;CLUSTER
        for number, (_, future) in enumerate(new):
            self.awaited[folder, number] = future

    def collect(self):
        """Give a result to the futures of the tasks that are over."""
        queue = tasks_in_queue()
        names = {folder: {path.name for path in folder.iterdir()} for folder in {folder for folder, _ in self.awaited}}
        for key in list(self.awaited):
            folder, number = key
            if f"{number}.json" in names[folder]:
                outcome = json.loads((folder / f"{number}.json").read_text(encoding="utf-8"))
                kinds = {"RefusedError": RefusedError, "DiedError": DiedError}
                error = outcome and kinds[outcome["kind"]](*outcome["arguments"])
                self.awaited.pop(key).set_result(error)
            elif queue is None or (self.jobs[folder], number) in queue:
                self.gone.pop(key, None)
            elif time.monotonic() - self.gone.setdefault(key, time.monotonic()) > GRACE:
                words = folder / f"{number}.txt"
                words = words.read_text(encoding="utf-8", errors="replace") if words.exists() else ""
                message = f"task {number} of SLURM's job {self.jobs[folder]} ended without a word"
                self.awaited.pop(key).set_result(DiedError(message, words.strip()))


def tasks_in_queue():
    """Return {(job, number)} of the user's tasks that wait or run, or None if SLURM does not answer."""
    command = ["squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format=%F %K"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return None
    pairs = (line.split() for line in done.stdout.splitlines())
    return {(job, int(number)) for job, number in pairs if number.isdecimal()}
