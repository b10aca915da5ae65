"""htd/: schedules compared, and the grid over L and U, on the bundled digits, against pandas, SciPy and the formula."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, load_script, run_script
from matplotlib.image import imread
from scipy.stats import ttest_rel

from cluster.engines.here import Here
from cluster.runs import read_result
from ensemble.common import scripts
from ensemble.common.command import RefusedError
from htd import runs

pytestmark = pytest.mark.xdist_group("htd")
SMALL = ("--script", "1.LeNet/lenet.py", "--data", "digits", "--epochs", 2, "--batch-size", 64, "--precision=float32")
COMPARE = (*SMALL, "--schedules", "tanh,plateau", "--seeds", 2, "--patience", 1)


def processes_with(text):
    """The command lines of the processes that run now and have a text in theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # it has just ended
            continue
    return [line for line in found if text in line]


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison that was interrupted by Ctrl-C when a run was finished, and then given again: its folder, the
    record and the folder of it, what it printed, and when each run was finished at the time of the Ctrl-C."""
    folder = tmp_path_factory.mktemp(f"compared-{os.getpid()}-")
    arguments = [*map(str, COMPARE), "--run", folder.name]
    process = subprocess.Popen(
        [sys.executable, ROOT / "htd/compare.py", *arguments],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )
    while not (finished := list(folder.glob("runs/*/run.json"))):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 130 and "Interrupted. The same command goes on" in message
    assert "Traceback" not in message
    assert not processes_with(f"--run={folder.name}")
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*/run.json")}
    printed = run_script("htd/compare.py", *arguments, "--parallel", 2, cwd=folder).stdout
    [result] = folder.glob("runs/compare-*/htd.json")
    return folder, json.loads(result.read_text()), result.parent, printed, finished


def test_an_interrupted_comparison_goes_on_and_trains_nothing_twice(compared):
    folder, record, _, printed, finished = compared
    assert len(finished) == 1
    assert f"4 runs of lenet, of which {len(finished)} are finished" in printed
    assert all(path.stat().st_mtime_ns == moment for path, moment in finished.items())
    for row in record["runs"]:
        assert (f"{row['path']}: validation accuracy" in printed) == (folder / row["path"] / "run.json" not in finished)


def table(folder):
    """The scores of a comparison's runs from their own run.json, a row each."""
    rows = []
    for path in folder.glob("runs/*/run.json"):
        run = json.loads(path.read_text())
        rows.append(
            {
                "schedule": run["settings"]["SCHEDULE"],
                "seed": run["settings"]["SEED"],
                "model": run["model"],
                **{part: run[part]["accuracy"] for part in ("validation", "test")},
                "loss": run["validation"]["loss"],
                "seconds": run["seconds"],
            }
        )
    return pd.DataFrame(rows).sort_values(["schedule", "seed"])


def test_the_figures_are_those_of_the_runs(compared):
    folder, record, _, printed, _ = compared
    runs_of = table(folder)
    assert list(record["schedules"]) == ["tanh", "plateau"]
    for name, row in record["schedules"].items():
        own = runs_of[runs_of["schedule"] == name]
        best = own.sort_values(["validation", "loss"], ascending=[False, True]).iloc[0]
        line = next(line for line in printed.splitlines() if line.startswith(f"{name}  "))
        for part in ("validation", "test"):
            mean, deviation, median = own[part].agg(["mean", "std", "median"])
            assert row[part] == pytest.approx(
                {"mean": mean, "deviation": deviation, "median": median, "best": best[part]}
            )
            assert f"{100 * mean:.2f} ± {100 * deviation:.2f}" in line and f"{100 * best[part]:.2f}" in line
        assert row["seconds"] == pytest.approx(own["seconds"].mean())
    pivot = runs_of.pivot(index="seed", columns="schedule", values="test")
    expected = ttest_rel(pivot["plateau"], pivot["tanh"]).confidence_interval(0.95)
    found = record["schedules"]["plateau"]["difference"]
    assert found["mean"] == pytest.approx((pivot["plateau"] - pivot["tanh"]).mean())
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert f"plateau less tanh, test, percentage points, by seed: {100 * found['mean']:+.2f} [" in printed
    assert ("beyond the spread" in printed) == (not expected.low <= 0 <= expected.high)
    assert "difference" not in record["schedules"]["tanh"]


def test_the_record_says_what_was_run(compared):
    folder, record, _, _, _ = compared
    assert {row["model"] for row in record["runs"]} == set(table(folder)["model"])
    assert [(row["variant"], row["seed"]) for row in record["runs"]] == [
        (schedule, seed) for schedule in ("tanh", "plateau") for seed in (0, 1)
    ]
    assert "--schedules tanh,plateau" in record["command"] and record["training"]["script"] == "1.LeNet/lenet.py"
    settings = record["training"]["settings"]
    assert settings["EPOCHS"] == 2 and not {"SCHEDULE", "SEED", "RUN"} & settings.keys()
    assert record["data"] == "digits" and record["images"] == {"train": 1150, "validation": 287, "test": 360}
    assert record["device"] and len(record["split"]) == 16


def test_the_record_fills_a_table(compared, run, tmp_path):
    _, record, folder, _, _ = compared
    (tmp_path / "htd").mkdir()
    (tmp_path / "htd/README.md").write_text("<!-- results: schedules -->\n<!-- end of results -->\n")
    run("tools/results.py", tmp_path, "--add", folder / "htd.json", "--name", "schedules")
    run("tools/results.py", tmp_path, "--fix")
    mean = 100 * record["schedules"]["plateau"]["test"]["mean"]
    assert f"| {mean:.2f} ± " in (tmp_path / "htd/README.md").read_text()


@pytest.fixture(scope="module")
def planned(compared):
    """The script of the comparison, its runs and their records, as compare.py has them, with paths from the root."""
    folder, *_ = compared
    script = load_script("1.LeNet/lenet.py")
    arguments = [*map(str, SMALL[2:]), "--patience", "1", "--run", folder.name]
    found = runs.plan(script, arguments, {name: [f"--schedule={name}"] for name in ("tanh", "plateau")}, 2)
    for each in found:
        each.folder = folder / each.folder
    return script, found, [read_result(each) for each in found]


def test_the_picture_of_learning_rates_shows_those_of_the_runs(planned, compared):
    script, found, records = planned
    figure = load_script("htd/compare.py").draw_rates(script, found, records)
    tanh, *plateaus = [patch.get_data() for patch in figure.axes[0].patches]
    steps = 2 * (1150 // 64)
    expected = [0.01 / 2 * (1 - math.tanh(-6 + 9 * i / steps)) for i in range(steps)]
    np.testing.assert_allclose(tanh.values, expected, rtol=1e-5)
    np.testing.assert_allclose(tanh.edges, 2 * np.arange(steps + 1) / steps)
    for plateau, each in zip(plateaus, found[2:], strict=True):
        assert plateau.values.tolist() == pd.read_csv(each.folder / "history.csv")["learning_rate"].tolist()
        assert plateau.edges.tolist() == [0, 1, 2]
    history = pd.read_csv(found[0].folder / "history.csv")["learning_rate"]  # of each epoch's last step
    np.testing.assert_allclose(history, [expected[steps // 2 - 1], expected[-1]], rtol=1e-5)


def test_the_picture_of_accuracy_shows_validation_by_epoch_and_test_at_the_end(planned, compared):
    _, found, records = planned
    _, record, folder, _, _ = compared
    figure = load_script("htd/compare.py").draw_accuracy(found, records)
    by_epoch, at_end = figure.axes
    for i, name in enumerate(("tanh", "plateau")):
        own = [pd.read_csv(each.folder / "history.csv")["val_accuracy"] for each in found if each.variant == name]
        both = 100 * pd.concat(own, axis=1)
        np.testing.assert_allclose(by_epoch.lines[i].get_ydata(), both.mean(axis=1))
        band = by_epoch.collections[i].get_paths()[0].vertices
        for epoch, row in both.iterrows():
            heights = band[band[:, 0] == epoch + 1, 1]
            assert (heights.min(), heights.max()) == pytest.approx((row.min(), row.max()))
        test = [100 * run["test"]["accuracy"] for run in record["runs"] if run["variant"] == name]
        assert at_end.lines[2 * i].get_ydata().tolist() == test
        assert at_end.lines[2 * i + 1].get_ydata() == pytest.approx([np.mean(test)] * 2)
    for name in ("rates.png", "accuracy.png"):
        assert imread(folder / name).std() > 0.05


def test_the_picture_of_curves_is_of_the_formula():
    figure = load_script("htd/curves.py").draw(load_script("4.ResNet/resnet.py"))
    shown = [(line.get_label(), line.get_xdata(), line.get_ydata()) for axes in figure.axes for line in axes.lines]
    assert len(shown) == 3 * 6
    for label, part, rate in shown:
        if label.startswith("L = "):
            lower, upper = (float(text.split(" = ")[1]) for text in label.split(", "))
            np.testing.assert_allclose(rate, (1 - np.tanh(lower + (upper - lower) * part)) / 2, rtol=1e-3, atol=1e-6)


def test_grid(run, tmp_path):
    printed = run("htd/grid.py", *SMALL[2:], "--tanh-from=-6,-2", "--tanh-to=1.5", "--seeds", 1, "--parallel", 2).stdout
    [result] = tmp_path.glob("runs/grid-*/htd.json")
    record = json.loads(result.read_text())
    records = {}
    for path in tmp_path.glob("runs/*/run.json"):
        of_run = json.loads(path.read_text())
        records[of_run["settings"]["TANH_FROM"]] = of_run
        first, steps = of_run["settings"]["TANH_FROM"], 2 * (1150 // 64)
        assert of_run["settings"]["TANH_TO"] == 1.5
        ends = [0.01 / 2 * (1 - math.tanh(first + (1.5 - first) * i / steps)) for i in (steps // 2 - 1, steps - 1)]
        np.testing.assert_allclose(pd.read_csv(path.with_name("history.csv"))["learning_rate"], ends, rtol=1e-5)
    assert sorted(records) == [-6, -2]
    best = max((-6, -2), key=lambda first: records[first]["validation"]["accuracy"])
    chosen = record["grid"]["chosen"]
    assert (chosen["from"], chosen["to"]) == (best, 1.5)
    for part in ("validation", "test"):
        assert chosen[part]["mean"] == records[best][part]["accuracy"] and chosen[part]["deviation"] is None
    for cell in record["grid"]["cells"]:
        assert cell["validation"]["mean"] == records[cell["from"]]["validation"]["accuracy"]
        assert f"{100 * cell['validation']['mean']:.2f}" in printed
    assert all("test" not in row for row in [*record["runs"], *record["grid"]["cells"]])  # of the chosen pair alone
    half = best / (best - 1.5)
    assert f"L = {best}, U = 1.5 (half the rate after {half:.0%} of the run)" in printed
    assert f"test {100 * chosen['test']['mean']:.2f}\n" in printed

    figure = load_script("htd/grid.py").draw(record)
    shown = {float(text.get_text()) for text in figure.axes[0].texts}
    assert shown == {round(100 * cell["validation"]["mean"], 2) for cell in record["grid"]["cells"]}
    [frame] = figure.axes[0].patches
    assert frame.get_y() == pytest.approx((0 if best == -6 else 1) - 0.46)
    assert imread(result.with_name("grid.png")).std() > 0.05


def test_equal_differences_have_no_interval():
    compare = load_script("htd/compare.py")
    first, second = (
        [{"test": {"accuracy": correct / 360}} for correct in counts] for counts in ((300, 310), (301, 311))
    )
    found = runs.paired_difference(second, first)
    assert found == {"mean": pytest.approx(1 / 360), "low": None, "high": None}
    assert compare.verdict(found) == "+0.28; without a spread over seeds, so it may be chance"
    second[0]["test"]["accuracy"] = 302 / 360
    assert runs.paired_difference(second, first)["low"] < 0


# Refusals
def refusal(capsys, function, *arguments):
    """Call a function that must refuse with one line; return that line."""
    with pytest.raises(SystemExit) as stopped:
        function(*arguments)
    line = capsys.readouterr().err
    assert stopped.value.code == 2 and line.count("\n") == 1
    return line


def test_a_wrong_option_is_one_line(refused, capsys):
    assert "there is no script 9.Net/net.py" in refused("htd/compare.py", "--script", "9.Net/net.py")
    assert "tools/copies.py has no learning_rate" in refusal(capsys, scripts.read_script, "tools/copies.py")
    parser = runs.command_parser("", "4.ResNet/resnet.py", 2, 1)
    for option, value in (("--seeds", "0"), ("--parallel", "two"), ("--seeds", "1.5")):
        line = refusal(capsys, parser.parse_args, [option, value])
        assert f"{option}: {value!r} is no whole number from 1 to 10000" in line


def test_what_the_script_refuses_is_refused_once_before_any_training(planned, capsys):
    script, _, _ = planned
    step = {"step": ["--schedule=step"]}
    with pytest.raises(SystemExit) as stopped:  # argparse's own two lines
        runs.plan(script, ["--epocs", "3"], step, 2)
    assert stopped.value.code == 2 and "unrecognized arguments: --epocs 3" in capsys.readouterr().err
    assert "one of step, cosine" in refusal(capsys, runs.plan, script, [], {"linear": ["--schedule=linear"]}, 2)
    assert "from -20.0 to 0.0" in refusal(capsys, runs.plan, script, [], {"tanh": ["--tanh-from=2"]}, 2)
    for option in ("--schedule", "--seed", "--seed=1"):
        line = refusal(capsys, runs.plan, script, [option, "1"], step, 2)
        assert f"{option.split('=')[0]} is what the runs differ in" in line


def test_a_finished_run_with_other_settings_or_images_is_refused(planned, capsys, tmp_path, monkeypatch):
    _, found, _ = planned
    monkeypatch.setattr(runs.signal, "signal", lambda *_: None)
    copies = []
    for each in found[:2]:
        shutil.copytree(each.folder, tmp_path / each.folder.name)
        copies.append(replace(each, folder=tmp_path / each.folder.name, settings=dict(each.settings)))
    (copies[0].folder / "backup.npz").touch()  # of a kill right after its record
    assert len(runs.train_all(copies, Here(1))) == 2  # all finished
    assert not (copies[0].folder / "backup.npz").exists()
    capsys.readouterr()
    file = copies[1].folder / "run.json"
    kept = file.read_text()
    record = json.loads(kept)
    for field, value in (("split", "0" * 16), ("precision", "mixed_float16"), ("parameters", 1)):
        file.write_text(json.dumps(record | {field: value}))
        line = refusal(capsys, runs.train_all, copies, Here(1))
        assert f"{copies[0].folder} and {copies[1].folder} differ in their" in line
        assert f"({record[field]}, {value}): move one away" in line
    file.write_text(json.dumps(record | {"script_sha256": "0" * 64}))
    assert len(runs.train_all(copies, Here(1))) == 2
    warning = capsys.readouterr().err
    assert warning.startswith("warning: the script was edited between") and str(copies[1].folder) in warning
    copies[1].settings["EPOCHS"] = 3
    with pytest.raises(
        RefusedError, match=r"is finished, but EPOCHS was 2, is 3\. Undo that, or give another --run NAME"
    ):
        read_result(copies[1])
    file.write_text(kept[:100])
    with pytest.raises(RefusedError, match=r"run\.json is damaged: .*; move .* away, and the run is trained again"):
        read_result(copies[1])


STAND_IN = """
import os, sys, time
from pathlib import Path

DATA = "digits"
EPOCHS = 1
BATCH_SIZE = 32
SCHEDULE = "step"
LEARNING_RATE = 0.1
SEED = 0
RUN = ""

class InputError(Exception):
    pass

def learning_rate(epoch):
    return 0.0

def read_settings(arguments):
    return {"EPOCHS": 1}, Path("runs/stand-in")

if __name__ == "__main__":
    if "--seed=1" in sys.argv:
        WAY
    while True:
        print("an epoch", flush=True)
        time.sleep(0.05)
"""


@pytest.mark.parametrize(
    ("way", "lines"),
    [
        (
            "print('a warning', 'stand_in.py: no room', sep='\\n', file=sys.stderr); sys.exit(2)",
            ["stand_in"],
        ),
        ("sys.exit('an accident')", ["an accident", "compare.py: runs/stand-in-step-1 ended with status 1; the same"]),
    ],
)
def test_a_run_that_fails_ends_the_others_and_says_why(run, tmp_path, way, lines):
    script = tmp_path / f"stand_in_{os.getpid()}.py"
    script.write_text(STAND_IN.replace("WAY", way.replace("stand_in.py", script.name)))
    done = run("htd/compare.py", "--script", script, "--parallel", 3, "--seeds", 3, status=2)
    for line, beginning in zip(done.stderr.strip().splitlines(), lines, strict=True):
        assert line.startswith(beginning)
    assert not processes_with(script.name) and not (tmp_path / "runs").exists()


def test_a_run_starts_when_the_one_before_it_has_its_images(run, tmp_path):
    """The first is silent for a second, as a script is until it has loaded them."""
    script = tmp_path / "stand_in.py"
    way = "Path('second').write_text(str(time.time())); sys.exit('enough')"
    silence = 'if __name__ == "__main__":\n    if "--seed=0" in sys.argv:\n        time.sleep(1)\n'
    silence += '        Path("first").write_text(str(time.time()))\n'
    script.write_text(STAND_IN.replace("WAY", way).replace('if __name__ == "__main__":\n', silence))
    run("htd/compare.py", "--script", script, "--parallel", 2, "--seeds", 2, "--schedules", "step", status=2)
    first, second = (float((tmp_path / name).read_text()) for name in ("first", "second"))
    assert first < second


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_run_outlives_the_command(tmp_path, number):
    script = tmp_path / f"stand_in_{os.getpid()}_{number}.py"
    script.write_text(STAND_IN.replace("WAY", "pass"))
    command = [sys.executable, ROOT / "htd/compare.py", "--script", script, "--parallel", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while len(processes_with(f"{script.name} --schedule")) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(number)
    process.wait(timeout=30)
    until = time.monotonic() + 10
    while processes_with(script.name):
        assert time.monotonic() < until
        time.sleep(0.02)
