"""tools/results.py, run as its user runs it, on small trees of files: its records, and where its tables stand."""

import hashlib
import json
import re

import pytest
from conftest import ROOT
from sample_records import END, ENSEMBLE, GRID, RUN, RUNS, SCHEDULES, changed, rows_of, write_tree


def test_typed_number_and_changed_record_make_a_table_stale(run, tmp_path):
    root = write_tree(tmp_path, RUNS, {"README.md": f"<!-- results: training -->\n{END}\n"})
    run("tools/results.py", root, "--fix")
    filled = (root / "README.md").read_text()
    (root / "README.md").write_text(filled.replace("86.79", "96.79"))
    assert "README.md:1: " in run("tools/results.py", root, status=1).stdout
    (root / "README.md").write_text(filled)
    write_tree(tmp_path, {"resnet": changed(RUN, test__accuracy=0.8679)}, {})  # the same in the table
    run("tools/results.py", root)
    write_tree(tmp_path, {"resnet": changed(RUN, test__accuracy=0.8680)}, {})
    assert "README.md:1: " in run("tools/results.py", root, status=1).stdout


def test_tables_in_folders_link_to_files_that_are_there(run, tmp_path):
    def tables(*names):
        return "\n".join(f"<!-- results: {name} -->\n{END}" for name in names)

    in_code = "```\n<!-- results: what -->\n```\n"
    root = write_tree(
        tmp_path,
        {**RUNS, "voting": ENSEMBLE},
        {
            "4.ResNet/README.md": tables("training 4.ResNet"),
            "4.Res/README.md": in_code + tables("training 4.Res", "training 4.ResNet/resnet.py"),
            "ensemble/README.md": tables("ensembles"),
            ".hidden/README.md": "<!-- results: what -->",
            "4.ResNet/resnet.py": "",
            "1.LeNet/lenet.py": "",
        },
    )
    run("tools/results.py", root, "--fix")
    assert run("tools/results.py", root).stdout == "4 tables of 5 records: all true\n"
    only_resnet = (root / "4.ResNet/README.md").read_text()
    assert [row["Record"][1:].split("]")[0] for row in rows_of(only_resnet)] == ["copy", "resnet", "deeper"]
    other = (root / "4.Res/README.md").read_text()
    assert other.startswith(in_code + f"<!-- results: training 4.Res -->\n\nnot measured\n\n{END}\n")
    assert rows_of(other) == rows_of(only_resnet)
    links = {
        root / folder / link
        for folder in ("4.ResNet", "4.Res", "ensemble")
        for link in re.findall(r"\]\((.*?)\)", (root / folder / "README.md").read_text())
    }
    assert len(links) >= 8 and all(link.is_file() for link in links)


def test_weights_are_those_of_their_record(run, refused, tmp_path):
    model = tmp_path / "runs" / "a" / "model.h5"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    record = changed(RUN, model=hashlib.sha256(b"weights").hexdigest())
    (model.parent / "run.json").write_text(json.dumps(record))
    root = write_tree(tmp_path, {}, {"README.md": f"<!-- results: training -->\n{END}\n"})
    added = ("tools/results.py", root, "--add", model.parent / "run.json", "--weights", "--name")
    run(*added, "a")
    assert (root / "results" / "weights" / "a.h5").read_bytes() == b"weights"
    run("tools/results.py", root, "--fix")
    (row,) = rows_of((root / "README.md").read_text())
    assert row["Record"] == "[a](results/a.json), [weights](results/weights/a.h5)"
    model.write_bytes(b"others")
    assert "is not the model of" in refused(*added, "b")
    assert not (root / "results" / "b.json").exists()
    (root / "results" / "weights" / "a.h5").write_bytes(b"others")
    assert "a.h5 is not the model of results/a.json" in refused("tools/results.py", root)


def test_the_weights_that_are_shipped_are_small():
    sizes = [path.stat().st_size for path in (ROOT / "results" / "weights").iterdir()]
    assert sizes and sum(sizes) < 12e6


def test_add_copies_a_finished_record_once(run, refused, tmp_path):
    record = tmp_path / "run.json"
    record.write_text(json.dumps(RUN))
    add = ("tools/results.py", tmp_path, "--add", record)
    run(*add, "--name", "plain")
    assert json.loads((tmp_path / "results/plain.json").read_text()) == RUN
    run(*add, "--name", "named", "--data-name", "CIFAR-10 (JPEG copy)")
    added = (tmp_path / "results/named.json").read_text()
    assert json.loads(added) == {**RUN, "data_name": "CIFAR-10 (JPEG copy)"}
    assert "exists; give another --name" in refused(*add, "--name", "named")
    assert (tmp_path / "results/named.json").read_text() == added
    assert "cannot be a file's name" in refused(*add, "--name", "../out")
    assert "give --add FILE and --name NAME together" in refused(*add)
    assert "give --add FILE and --name NAME together" in refused("tools/results.py", tmp_path, "--data-name", "x")
    assert "not allowed with argument" in refused(*add, "--name", "x", "--fix")
    assert "nothing.json cannot be read" in refused(
        "tools/results.py", tmp_path, "--add", tmp_path / "nothing.json", "--name", "x"
    )
    record.write_text(json.dumps(changed(RUN, test=None)))
    assert "run.json is damaged: lacks test; record a finished run" in refused(*add, "--name", "x")
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["named.json", "plain.json"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", "bad.json is damaged: Expecting property name"),
        ("[" * 100_000, "bad.json is damaged: it is nested too deep"),
        ([], "bad.json is damaged: must be a group of values, got a list"),
        ({"seconds": 1}, "bad.json is no record of a run or an ensemble"),
        (changed(RUN, settings__DATA=None), "bad.json is damaged: settings lacks DATA"),
        (changed(RUN, settings=[]), "settings must be a group of values, got a list"),
        (changed(RUN, parameters="many"), "parameters must be a whole number, got a text"),
        (changed(RUN, parameters=True), "parameters must be a whole number, got true or false"),
        (changed(RUN, parameters=10**400), "parameters must be a whole number <= "),
        (changed(RUN, test__accuracy=86.8), "test.accuracy must be a number <= 1.0"),
        (changed(RUN, seconds=float("nan")), "bad.json is damaged: the number NaN is not finite"),
        (json.dumps(RUN).replace("2671.4", "1e400"), "bad.json is damaged: the number 1e400 is not finite"),
        (changed(RUN, data_name=1), "data_name must be a text, got a whole number"),
        (changed(ENSEMBLE, members=[]), "members must be a list of length >= 1"),
        (changed(ENSEMBLE, members=[1]), "members[0] must be a group of values, got a whole number"),
        (changed(ENSEMBLE, members=[{**ENSEMBLE["members"][0], "weight": "a"}]), "members[0].weight must be a number"),
        (changed(ENSEMBLE, methods={"mean": {}}), "methods['mean'] lacks validation"),
        (changed(SCHEDULES, schedules__tanh__test__mean=85.0), "schedules['tanh'].test.mean must be a number <= 1"),
        (changed(SCHEDULES, training__settings__EPOCHS=None), "training.settings lacks EPOCHS"),
        (changed(GRID, grid__chosen__test=None), "grid.chosen lacks test"),
        (changed(GRID, runs=[{}]), "runs[0] lacks seed"),
        (changed(SCHEDULES, schedules__tanh__difference=[]), "schedules['tanh'].difference must be a group"),
        (changed(ENSEMBLE, **{"methods__soft voting__over_best": {}}), "methods['soft voting'].over_best lacks gain"),
        (
            changed(ENSEMBLE, **{"methods__soft voting__over_single_run": {"low": 0.0}}),
            "over_single_run lacks gain; record",
        ),
        (changed(GRID, grid__cells=[{"from": -6, "to": -3}]), "grid.cells[0].to must be a number >= 0"),
    ],
)
def test_results_refuses_a_bad_record(refused, tmp_path, record, message):
    root = write_tree(tmp_path, {"good": RUN}, {"README.md": f"<!-- results: training -->\n{END}\n"})
    (root / "results/bad.json").write_text(record if isinstance(record, str) else json.dumps(record))
    assert message in refused("tools/results.py", root, "--fix")
    assert (root / "README.md").read_text() == f"<!-- results: training -->\n{END}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n<!-- results: training -->\n", "README.md:2: the table has no end"),
        (f"<!-- results: training -->\n<!-- results: ensembles -->\n{END}\n", "README.md:1: the table has no end"),
        (f"<!-- results: trainings -->\n{END}\n", "README.md:1: there is no table 'trainings'"),
        (f"<!-- results: training 4.Resnet -->\n{END}\n", "README.md:1: there is no table 'training 4.Resnet'"),
        (f"<!-- results: ensembles 4.ResNet -->\n{END}\n", "README.md:1: there is no table 'ensembles 4.ResNet'"),
        (f"a\n\n{END}\n", "README.md:3: '<!-- end of results -->' ends nothing"),
    ],
)
def test_results_refuses_a_bad_table(refused, tmp_path, text, message):
    root = write_tree(tmp_path, {"good": RUN}, {"README.md": text})
    assert message in refused("tools/results.py", root, "--fix")
    assert (root / "README.md").read_text() == text


def test_the_tables_of_this_repository_are_true(run):
    assert run("tools/results.py").stdout.endswith(": all true\n")
