"""Make Markdown for benchmarks/README.md of what gpu.sh measured.

    python benchmarks/gpu_table.py gpu_results

The folder is what gpu_results.tar.gz unpacks to. Parts that are not there are left out.
"""

import csv
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from benchmarks.gpu_speed import read_measurements
from ensemble.common.command import refuse, run_command

WAYS = ("jax", "eager", "compiled")


def number(value, form=",.0f"):
    return "—" if value is None else format(value, form)


def markdown(titles, rows):
    """Return the lines of a table, its first column to the left and the others to the right."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def speed_table(measured):
    """Return the lines of the table of images per second and memory, JAX beside PyTorch."""
    rows = []
    for network in dict.fromkeys(network for network, way in measured if way in WAYS):
        results = [measured.get((network, way), {}) for way in WAYS]
        if "recipe" not in results[0]:
            continue
        speeds = [result.get("images_per_second") for result in results]
        ratios = [speed and speeds[0] / speed for speed in speeds[1:]]
        memories = [result.get("gpu_memory", result.get("memory")) for result in results]
        cells = [network, str(results[0]["recipe"][0]), results[0]["precision"], *map(number, speeds)]
        cells += [number(ratio, ".2f") for ratio in ratios]
        rows.append([*cells, *(number(memory, ".1f") for memory in memories)])
    titles = ["network", "batch", "precision", "JAX, images/s", "PyTorch eager, images/s", "compiled, images/s"]
    titles += ["JAX / eager", "JAX / compiled", "JAX, GiB", "eager, GiB", "compiled, GiB"]
    return markdown(titles, rows) if rows else []


def waiting_table(measured):
    """Return the lines of the table of what part of a step waits for its batch."""
    rows = []
    for network in dict.fromkeys(network for network, _ in measured):
        results = [measured.get((network, way), {}) for way in ("jax", "fixed")]
        speeds = [result.get("images_per_second") for result in results]
        if not all(speeds):
            continue
        ours, fixed = (1000 * results[0]["recipe"][0] / speed for speed in speeds)
        rows.append([network, number(ours, ".2f"), number(fixed, ".2f"), number(100 * (1 - fixed / ours))])
    titles = ["network", "step, ms", "with one batch, made before, ms", "waits for its batch, %"]
    return markdown(titles, rows) if rows else []


def describe_training(folder):
    """Return a line on the run in `folder`, finished or not; None if there is no history."""
    if not (folder / "history.csv").exists():
        return None
    with (folder / "history.csv").open(encoding="utf-8") as file:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    speed = statistics.median(row["images_per_second"] for row in rows)
    minutes = sum(row["seconds"] for row in rows) / 60
    first = f"{folder.name}: {len(rows)} epochs in {minutes:.1f} minutes, {speed:,.0f} images/s; "
    if not (folder / "run.json").exists():
        return f"{first}stopped there, at {rows[-1]['val_accuracy']:.2%} on validation"
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    accuracies = f"{record['validation']['accuracy']:.2%} on validation, {record['test']['accuracy']:.2%} on test"
    return f"{first}{accuracies}; {record['precision']} on {record['device']}; `{record['command']}`"


def describe_resume(file):
    """Return a line on what check_resume.py found; None if it did not end."""
    if not file.exists():
        return None
    result = json.loads(file.read_text(encoding="utf-8"))
    how = "bit for bit" if result["bit_for_bit"] else f"but for {result['largest_difference']:.1e}"
    return f"LeNet on the digits, killed after its first epoch and resumed: the unbroken run's weights, {how}"


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else Path()
    if not (folder / "machine.txt").exists():
        refuse("give the folder that gpu_results.tar.gz unpacks to, with a machine.txt in it")
    facts = dict(line.split(": ", 1) for line in (folder / "machine.txt").read_text().splitlines())
    device = facts["CPU"] if facts["GPU"] == "none" else facts["GPU"]
    print(f"{device}; {facts['date']}; `{facts['command']}`, commit {facts['commit']}; {facts['versions']}\n")
    measured = read_measurements(folder / "measurements.jsonl")
    for table in (speed_table(measured), waiting_table(measured)):
        if table:
            print("\n".join(table) + "\n")
    for line in (describe_training(folder / "runs/resnet20"), describe_resume(folder / "resume.json")):
        if line:
            print(f"- {line}")


if __name__ == "__main__":
    run_command(main)
