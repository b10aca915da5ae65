"""notebooks/colab.ipynb, run from top to bottom on the digits, with a stand-in for pip: nothing is downloaded."""

import base64
import io
import json
import os
import re
import subprocess
import sys

import nbformat
import numpy as np
import pytest
from conftest import ROOT
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from PIL import Image

NOTEBOOK = ROOT / "notebooks/colab.ipynb"
SMALL = {"DATA": "digits", "DEPTH": 8, "EPOCHS": 1, "BATCH_SIZE": 128, "NAME": "small"}
PIP = """#!/bin/sh
echo "$@" > pip.log
cat >> pip.log
"""


@pytest.fixture(scope="module", autouse=True)
def commands(tmp_path_factory):
    """The stand-in for pip and this Python are what the notebook's `!pip` and `!python` run."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "pip").write_text(PIP)
    (folder / "pip").chmod(0o755)
    (folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        yield


def execute(cwd, cells=None, **constants):
    """Run the notebook's first code cells (or all) in the folder cwd, with other constants; return them by id."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if cell.cell_type == "code"][:cells]
    for name, value in constants.items():
        line = rf"^{name} = (?:\".*?\"|\d+)"
        assert len(re.findall(line, notebook.cells[0].source, re.MULTILINE)) == 1, f"no constant {name}"
        notebook.cells[0].source = re.sub(line, f"{name} = {value!r}", notebook.cells[0].source, flags=re.MULTILINE)
    NotebookClient(notebook, timeout=200, resources={"metadata": {"path": str(cwd)}}).execute()
    return {cell.id: cell for cell in notebook.cells}


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The folder that stood in for a clone, and the code cells with their outputs."""
    folder = tmp_path_factory.mktemp("collection")
    for name in ("4.ResNet", "8.SENet", "ensemble", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    settings = re.search(r'"SETTINGS = \\"(.+?)\\"', NOTEBOOK.read_text())[1]
    return folder, execute(folder.parent, FOLDER=str(folder), SETTINGS=f"{settings} --limit 128", **SMALL)


def text(cell):
    """All that a cell printed, on stdout and stderr."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def pictures(cell):
    """The PNG files in a cell's outputs, as bytes."""
    return [base64.b64decode(output.data["image/png"]) for output in cell.outputs if "data" in output]


def test_is_valid_and_holds_no_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    nbformat.validate(notebook)
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        assert cell.get("outputs", []) == [] and cell.get("execution_count") is None


@pytest.mark.xdist_group("notebook")
def test_installs_all_that_is_needed_but_tensorflow(executed):
    folder, _ = executed
    options, *lines = (folder / "pip.log").read_text().splitlines()
    assert options == "install --quiet --requirement /dev/stdin"
    wanted = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if not line.startswith("#")]
    given = [line for line in lines if not line.startswith("#")]
    left_out = [re.match(r"\w+", line)[0] for line in wanted if line not in given]
    assert left_out == ["tensorflow", "tensorboard", "onnx", "onnxruntime", "tf2onnx"]
    assert given == [line for line in wanted if line in given]


@pytest.mark.xdist_group("notebook")
@pytest.mark.parametrize(("network", "script"), [("resnet", "4.ResNet/resnet.py"), ("senet", "8.SENet/senet.py")])
def test_trains_both_networks_as_the_constants_say(executed, network, script):
    folder, cells = executed
    run = folder / f"runs/small-{network}"
    record = json.loads((run / "run.json").read_text())
    assert record["script"] == script and record["backend"] == "tensorflow"
    wanted = {"DATA": "digits", "DEPTH": 8, "EPOCHS": 1, "BATCH_SIZE": 128, "SCHEDULE": "cosine", "FILL": "reflect"}
    assert wanted.items() <= record["settings"].items()
    assert (run / "model.h5").exists()
    assert f"test        accuracy {record['test']['accuracy']:.2%}" in text(cells[f"train-{network}"])


@pytest.mark.xdist_group("notebook")
def test_tables_are_of_both_runs(executed):
    folder, cells = executed
    kept = [np.load(folder / f"runs/small-{network}/predictions.npz") for network in ("resnet", "senet")]
    labels = kept[0]["test_labels"]
    first, second = (predictions["test_probabilities"].astype(np.float64) for predictions in kept)
    weight = json.loads((folder / "runs/small-weighted-mean/ensemble.json").read_text())["members"][0]["weight"]
    for cell, method, weights in (
        ("voting", "soft voting", (0.5, 0.5)),
        ("weighted-mean", "equal weights", (0.5, 0.5)),
        ("weighted-mean", "weighted mean", (weight, 1 - weight)),
    ):
        accuracy = 100 * np.mean((weights[0] * first + weights[1] * second).argmax(1) == labels)
        (row,) = re.findall(rf"^{method} .+", text(cells[cell]), re.MULTILINE)
        assert row.split()[-2] == f"{accuracy:.2f}"
    assert re.search(r"^hard voting .+", text(cells["voting"]), re.MULTILINE)


@pytest.mark.xdist_group("notebook")
def test_shows_the_pictures(executed):
    folder, cells = executed
    for cell, files in {
        "curves": ["small-resnet/curves.png", "small-senet/curves.png"],
        "voting": ["small-voting/ensemble.png"],
        "weighted-mean": ["small-weighted-mean/ensemble.png"],
    }.items():
        shown = pictures(cells[cell])
        assert shown == [(folder / "runs" / file).read_bytes() for file in files]
        assert all(Image.open(io.BytesIO(picture)).format == "PNG" for picture in shown)


def test_clones_what_is_not_there(tmp_path):
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "copy")], check=True)
    clone = tmp_path / "a folder"
    execute(tmp_path, 2, REPOSITORY=str(tmp_path / "copy"), FOLDER=str(clone))
    assert (clone / ".git").is_dir() and (clone / "pip.log").exists()


def test_without_folder_and_address_it_stops(tmp_path):
    with pytest.raises(CellExecutionError, match=r"there is no .+/nowhere: unpack the collection there") as stopped:
        execute(tmp_path, 2, FOLDER=str(tmp_path / "nowhere"))
    assert stopped.value.ename == "SystemExit"  # which IPython shows without a traceback
    assert list(tmp_path.iterdir()) == []
