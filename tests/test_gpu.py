"""The measurements on a GPU, as far as they go without one: what they are given, what they skip, what they print."""

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from conftest import ROOT, load_script
from PIL import Image

from benchmarks import check_resume, gpu_speed, gpu_table, train_in_keras
from ensemble.common.scripts import training_scripts


def write_archive(path, classes=("deer", "bird"), images=5):
    """Write plain images, 20 by default, of which each has a grey of its own: 4 for the first, 4 more for each next."""
    greys = {}
    with tarfile.open(path, "w:xz") as archive:
        for part in ("train", "test"):
            for name in classes:
                for number in range(images):
                    grey = greys[part, name, number] = 4 * (len(greys) + 1)
                    content = io.BytesIO()
                    Image.new("L", (32, 32), grey).save(content, "jpeg")  # grey, as some of a set may be
                    entry = tarfile.TarInfo(f"{part}/{name}/{number:04}.jpg")
                    entry.size = content.tell()
                    content.seek(0)
                    archive.addfile(entry, content)
    return greys


def shell(script, *arguments, cwd, **environment):
    program = ["bash", str(ROOT / "benchmarks" / script), *map(str, arguments)]
    return subprocess.run(program, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=60)


def test_the_images_of_an_archive_are_unpacked_shuffled_with_their_labels(run, refused, tmp_path):
    greys = write_archive(tmp_path / "images.tar.xz")
    run("benchmarks/unpack_images.py", "images.tar.xz", "images.npz")
    with np.load(tmp_path / "images.npz") as file:
        arrays = dict(file)
    assert arrays.keys() == {"x_train", "y_train", "x_test", "y_test"}
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        assert x.dtype == y.dtype == np.uint8 and x.shape == (10, 32, 32, 3)
        label = {grey: ["bird", "deer"].index(name) for (of, name, _), grey in greys.items() if of == part}
        found = x[:, 0, 0, 0].tolist()
        assert sorted(found) == sorted(label) and found != sorted(found)
        assert (x == x[:, :1, :1, :1]).all() and [label[grey] for grey in found] == y.tolist()
    assert "images.npz exists" in refused("benchmarks/unpack_images.py", "images.tar.xz", "images.npz")
    (tmp_path / "cut.tar.xz").write_bytes((tmp_path / "images.tar.xz").read_bytes()[:-200])
    line = refused("benchmarks/unpack_images.py", "cut.tar.xz", "cut.npz")
    assert line.startswith("unpack_images.py: cut.tar.xz cannot be read as an archive")
    assert not (tmp_path / "cut.npz").exists()


def test_an_archive_without_test_images_is_refused(refused, tmp_path):
    with tarfile.open(tmp_path / "images.tar.xz", "w:xz"):
        pass
    line = refused("benchmarks/unpack_images.py", "images.tar.xz", "images.npz")
    assert line.endswith("images.tar.xz has no images train/CLASS/NAME.jpg")


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """A stand-in for python3 -m pip download: it writes a wheel of so many MiB for every package it is asked for."""

    def stand_in(size):
        program = tmp_path / "bin/python3"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"""#!{sys.executable}
import pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--dest") + 1])
folder.mkdir()
for package in sys.argv[sys.argv.index("--dest") + 2 :]:
    with open(folder / f"{{package}}.whl", "wb") as file:
        file.truncate({size} * 2**20)
""")
        program.chmod(0o755)
        return f"{program.parent}{os.pathsep}{os.environ['PATH']}"

    return stand_in


def test_the_folder_has_all_that_the_run_needs_and_at_most_64_mib(pip, tmp_path):
    write_archive(tmp_path / "images.tar.xz")
    done = shell("gpu_folder.sh", "images.tar.xz", "folder", cwd=tmp_path, PATH=pip(1))
    assert done.returncode == 0 and done.stderr == ""
    folder = tmp_path / "folder"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    scripts = {str(path.relative_to(ROOT)) for path in training_scripts()}
    assert len(scripts) == 10 and scripts < files
    assert {"benchmarks/gpu.sh", "benchmarks/gpu_speed.py", "ensemble/common/command.py", "commit"} < files
    wheels = {name.split("/")[1].split("=")[0].removesuffix(".whl") for name in files if name.startswith("wheels/")}
    assert {"keras", "optree", "namex", "h5py", "matplotlib"} < wheels
    assert (folder / "images.tar.xz").read_bytes() == (tmp_path / "images.tar.xz").read_bytes()
    size = sum(path.stat().st_size for path in folder.rglob("*")) / 2**20
    assert len(wheels) < size < 64 and f"folder: {int(size)} MiB" in done.stdout
    for arguments, told in (
        (("images.tar.xz", "folder"), "folder exists; give another folder, or remove it"),
        (("none.tar.xz", "other"), "there is no file none.tar.xz"),
        (("images.tar.xz",), "give IMAGES.tar.xz and FOLDER"),
    ):
        done = shell("gpu_folder.sh", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr == f"gpu_folder.sh: {told}\n"
    done = shell("gpu_folder.sh", "images.tar.xz", "large", cwd=tmp_path, PATH=pip(4))
    assert done.returncode == 2 and done.stderr.endswith("MiB, more than 64\n") and len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.glob("large*"))


def test_a_run_without_images_or_over_other_results_is_refused(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old/log.txt").touch()
    for arguments, told in (
        ((), "images.tar.xz; gpu_folder.sh makes the folder"),
        (("--rehearse", "old"), "old has results; give another OUT"),
        (("--faster",), "give [--rehearse] [OUT]"),
    ):
        done = shell("gpu.sh", *arguments, cwd=tmp_path)
        assert done.returncode == 2 and done.stderr.startswith("gpu.sh: ") and done.stderr.endswith(f"{told}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_what_cannot_be_measured_or_tabled_is_refused(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for module, arguments, told in (
        (gpu_speed, ["images.npz", "measurements.jsonl", "4", "None:jax"], "None:jax: give NETWORK:WAY, of"),
        (gpu_speed, ["images.npz", "measurements.jsonl", "4", "LeNet"], "LeNet: give NETWORK:WAY, of LeNet"),
        (gpu_table, [str(tmp_path)], "give the folder that gpu_results.tar.gz unpacks to"),
    ):
        monkeypatch.setattr(sys, "argv", [f"{module.__name__}.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            module.main()
        assert ended.value.code == 2 and capsys.readouterr().err.startswith(f"{module.__name__}.py: {told}")
    assert not list(tmp_path.iterdir())


RECIPE = {"recipe": [128, 0.1, 0.9, 1e-4], "precision": "mixed_bfloat16"}


def test_what_is_measured_is_kept_and_not_measured_again(monkeypatch, tmp_path):
    commands, file = [], tmp_path / "measurements.jsonl"

    def measure(command, backend):
        commands.append([str(part) for part in command[2:]])
        failing = "fixed" in commands[-1] or "NIN" in commands[-1] or "2.NIN/nin.py" in commands[-1]
        return None if failing else {"images_per_second": 100.0 * len(commands), **RECIPE}

    monkeypatch.setattr(gpu_speed, "measure", measure)
    wanted = ["ResNet-20:jax", "ResNet-20:compiled", "ResNet-20:fixed", "NIN:jax", "NIN:eager"]
    for pairs in (wanted[:2], wanted):
        monkeypatch.setattr(sys, "argv", ["gpu_speed.py", "images.npz", str(file), "4", *pairs])
        with pytest.raises(SystemExit) as ended:
            gpu_speed.main()
        assert ended.value.code == (pairs == wanted)
    assert commands == [
        ["ours", "images.npz", "4", "4.ResNet/resnet.py"],
        ["ResNet-20", "images.npz", "4", "128", "0.1", "0.9", "0.0001", "bfloat16", "compiled"],
        ["fixed", "images.npz", "4", "4.ResNet/resnet.py"],
        ["ours", "images.npz", "4", "2.NIN/nin.py"],
    ]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [f"{line['network']}:{line['way']}" for line in lines] == wanted
    assert [line.get("images_per_second") for line in lines] == [100.0, 200.0, None, None, None]


def write_results(folder):
    speeds = {("ResNet-20", "jax"): 20_000, ("ResNet-20", "eager"): 16_000, ("ResNet-20", "fixed"): 25_000}
    speeds |= {("LeNet", "jax"): 50_000, ("LeNet", "compiled"): 40_000}
    lines = [
        {"network": network, "way": way, "images_per_second": speed, "memory": 9.0, "gpu_memory": speed / 1e4, **RECIPE}
        for (network, way), speed in speeds.items()
    ]
    lines.append({"network": "ResNet-20", "way": "compiled", "failed": True})
    (folder / "measurements.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    facts = {"date": "2026-12-01", "command": "bash benchmarks/gpu.sh", "commit": "abc", "GPU": "A GPU, driver 1"}
    facts |= {"CPU": "a CPU", "versions": "keras 3"}
    (folder / "machine.txt").write_text("".join(f"{name}: {value}\n" for name, value in facts.items()))
    (folder / "runs/resnet20").mkdir(parents=True)
    rows = ["epoch,val_accuracy,images_per_second,seconds", "1,0.5,10,30", "2,0.625,30,30", "3,0.75,20,30"]
    (folder / "runs/resnet20/history.csv").write_text("\n".join(rows) + "\n")


def test_the_table_of_made_up_results(monkeypatch, capsys, tmp_path):
    def printed():
        gpu_table.main()
        return capsys.readouterr().out

    write_results(tmp_path)
    monkeypatch.setattr(sys, "argv", ["gpu_table.py", str(tmp_path)])
    text = printed()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert text.startswith("A GPU, driver 1; 2026-12-01; `bash benchmarks/gpu.sh`, commit abc; keras 3\n\n| network")
    assert [row for row in rows if row[0] in ("ResNet-20", "LeNet")] == [
        ["ResNet-20", "128", "mixed_bfloat16", "20,000", "16,000", "—", "1.25", "—", "2.0", "1.6", "—"],
        ["LeNet", "128", "mixed_bfloat16", "50,000", "—", "40,000", "—", "1.25", "5.0", "—", "4.0"],
        ["ResNet-20", "6.40", "5.12", "20"],
    ]
    assert [len(row) for row in rows] == [11] * 4 + [4] * 3
    assert text.endswith("- resnet20: 3 epochs in 1.5 minutes, 20 images/s; stopped there, at 75.00% on validation\n")
    (tmp_path / "resume.json").write_text('{"bit_for_bit": false, "largest_difference": 2.5e-7}')
    assert printed().endswith("the unbroken run's weights, but for 2.5e-07\n")
    (tmp_path / "measurements.jsonl").unlink()
    assert "|" not in printed()


def test_one_batch_is_made_once_and_given_at_every_step():
    script = load_script("1.LeNet/lenet.py", BATCH_SIZE=8)
    x = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)
    arguments = (x, np.eye(24, dtype=np.float32), np.uint8([0, 0, 0]))
    ordinary, one = script.Batches(*arguments), train_in_keras.with_one_batch(script.Batches)(*arguments)
    first = one[0]
    one.begin_epoch(1)
    assert len(one) == len(ordinary) == 3 and one[2] is first
    for made, expected in zip(first, ordinary[0], strict=True):
        np.testing.assert_array_equal(made, expected)


def test_a_step_waits_for_the_loss_of_the_one_before():
    read = []

    class Loss:
        def __init__(self, number):
            self.number = number

        def __float__(self):
            read.append(self.number)
            return 0.0

    stop = train_in_keras.stop_when_measured(load_script("1.LeNet/lenet.py"), seconds=60)
    for number in range(4):
        stop.on_train_batch_end(number, {"loss": Loss(number)})
    assert read == [0, 1, 2]


@pytest.mark.parametrize(("difference", "status"), [(0.0, 0), (2**-20, 0), (2**-10, 1)])
def test_a_resumed_run_is_compared_with_the_unbroken_one(difference, status, monkeypatch, tmp_path):
    """By stand-ins for the three runs, the one to be killed included; test_backends.py has real ones."""
    ends = iter([("unbroken", 0.0, 0), ("resumed", 9.0, -signal.SIGKILL), ("resumed", difference, 0)])

    def start(program, run):
        expected, more, end = next(ends)
        assert run == expected and (program[0] == "-c") == (end == -signal.SIGKILL)
        (tmp_path / "runs" / run).mkdir(parents=True, exist_ok=True)
        with h5py.File(tmp_path / "runs" / run / "model.h5", "w") as file:
            file["layer/kernel"], file["layer/bias"] = np.ones((2, 3)), np.array([1.0, 1.0 - more])
        return SimpleNamespace(wait=lambda: end)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(check_resume, "start", start)
    monkeypatch.setattr(sys, "argv", ["check_resume.py", "resume.json"])
    with pytest.raises(SystemExit) as ended:
        check_resume.main()
    assert ended.value.code == status
    found = json.loads((tmp_path / "resume.json").read_text())
    assert found == {"bit_for_bit": difference == 0, "largest_difference": difference}


@pytest.mark.parametrize("script", ["gpu.sh", "gpu_folder.sh"])
def test_the_shell_can_read_the_scripts(script):
    done = subprocess.run(["bash", "-n", ROOT / "benchmarks" / script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
