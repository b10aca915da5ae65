"""Train one run of an array and put on record how it ended: what SLURM starts for slurm.py.

Its one argument is the array's folder; SLURM_ARRAY_TASK_ID is the number of the task in tasks.json there.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the packages stand

from cluster.process import Task, Watcher, train
from ensemble.common.files import written_whole


def main():
    folder, number = Path(sys.argv[1]), os.environ["SLURM_ARRAY_TASK_ID"]
    task = Task(**json.loads((folder / "tasks.json").read_text(encoding="utf-8"))[int(number)])
    error = train(task, Watcher())
    outcome = error and {"kind": type(error).__name__, "arguments": error.args}
    with written_whole(folder / f"{number}.json") as path:
        path.write_text(json.dumps(outcome), encoding="utf-8")


if __name__ == "__main__":
    main()
