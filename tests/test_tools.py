"""The tools, run as their user runs them, on small trees of files."""

import copy
import hashlib
import json
import re

import pytest
from conftest import ROOT

# tools/results.py

RUN = {
    "script": "4.ResNet/resnet.py",
    "command": "python 4.ResNet/resnet.py --data cifar10 --schedule cosine",
    "settings": {"DATA": "cifar10", "HOLD_OUT": 5000, "LIMIT": 0, "DEPTH": 20, "EPOCHS": 25, "SEED": 7},
    "parameters": 273658,
    "model": "aa11",
    "train": {"accuracy": 0.95, "loss": 0.1},
    "validation": {"accuracy": 0.87654, "loss": 0.4},
    "test": {"accuracy": 0.86789, "loss": 0.5},
    "seconds": 2671.4,
    "images_per_second": 1490.6,
    "precision": "float32",
    "device": "AMD EPYC, 2 cores",
}


def changed(record, **changes):
    """Return a copy of a record with changes such as test__accuracy=0.5; None takes the field away."""
    record = copy.deepcopy(record)
    for name, value in changes.items():
        *groups, field = name.split("__")
        place = record
        for group in groups:
            place = place[group]
        if value is None:
            del place[field]
        else:
            place[field] = value
    return record


RUNS = {
    "resnet": RUN,
    "deeper": changed(RUN, settings__DEPTH=110, parameters=1731418, test__accuracy=0.9, model="bb22"),
    "lenet": changed(
        RUN,
        script="1.LeNet/lenet.py",
        command="python 1.LeNet/lenet.py --data 'a b.npz'",
        settings={"DATA": "/data/a b.npz", "LIMIT": 900, "VARIANT": "dp_da", "WIDTH": 2, "EPOCHS": 60, "SEED": 0},
        parameters=62006,
        test__accuracy=0.7,
        model="cc33",
    ),
    "copy": changed(RUN, test__accuracy=0.5, data_name="CIFAR-10 (JPEG | copy)"),
}
MEMBER = {"path": "runs/x/model.h5", "model": "aa11", "parameters": None, "weight": 0.25}
SCORES = [(0.80, 0.91), (0.85, 0.75), (0.70, 0.95)]  # the member best on validation is the worst on test
ENSEMBLE = {
    "script": "ensemble/voting.py",
    "command": "python ensemble/voting.py a.h5 b.h5 c.h5",
    "data": "cifar10",
    "members": [
        {
            **MEMBER,
            "model": model,
            "path": f"runs/{model}/model.h5",
            "validation": {"accuracy": validation, "loss": 1.0},
            "test": {"accuracy": test, "loss": 1.0},
        }
        for model, (validation, test) in zip(("bb22", "cc33", "dd44"), SCORES, strict=True)
    ],
    "methods": {
        "hard voting": {"validation": {"accuracy": 0.861}, "test": {"accuracy": 0.7432}},
        "soft voting": {"validation": {"accuracy": 0.88}, "test": {"accuracy": 0.7777, "loss": 0.3}},
    },
    "device": "AMD EPYC, 2 cores",
}
COMPARISON = {
    "script": "htd/compare.py",
    "command": "python htd/compare.py --seeds 2",
    "data": "cifar10",
    "training": {"script": "1.LeNet/lenet.py", "settings": {"DATA": "cifar10", "VARIANT": "dp", "EPOCHS": 30}},
    "runs": [{"seed": 0}, {"seed": 1}, {"seed": 0}, {"seed": 1}],
    "precision": "float32",
    "device": "AMD EPYC, 2 cores",
}
OVER_SEEDS = {"mean": 0.81234, "deviation": 0.0123, "median": 0.8, "best": 0.82}
OF_ONE = OVER_SEEDS | {"deviation": None, "mean": 0.7}
SCHEDULES = COMPARISON | {
    "schedules": {
        "step": {"validation": OVER_SEEDS, "test": OVER_SEEDS, "seconds": 90.0},
        "tanh": {
            "validation": OF_ONE,
            "test": OVER_SEEDS | {"mean": 0.85},
            "seconds": 120.0,
            "difference": {"mean": 0.03766, "low": -0.01, "high": 0.08532},
        },
        "cosine": {
            "validation": OF_ONE,
            "test": OF_ONE,
            "seconds": 60.0,
            "difference": {"mean": -0.011, "low": None, "high": None},
        },
    }
}
GRID = COMPARISON | {
    "grid": {
        "cells": [
            {"from": -6.0, "to": 3.0, "validation": OF_ONE},
            {"from": -2.5, "to": 3.0, "validation": OVER_SEEDS},
        ],
        "chosen": {"from": -2.5, "to": 3.0, "validation": OVER_SEEDS, "test": OVER_SEEDS | {"mean": 0.79}},
    }
}
END = "<!-- end of results -->"


@pytest.fixture
def tree(tmp_path):
    """Write records {name: record} and README files {path: text} to a folder; return it."""

    def write(records, readmes):
        (tmp_path / "results").mkdir(exist_ok=True)
        for name, record in records.items():
            (tmp_path / "results" / f"{name}.json").write_text(json.dumps(record))
        for path, text in readmes.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return tmp_path

    return write


def rows_of(text):
    """Return the rows of the only table in a text as dictionaries by title."""
    lines = [line.replace("\\|", "¦") for line in text.splitlines() if line.startswith("|")]
    titles, dashes, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(set(dash) <= {":", "-"} for dash in dashes)
    return [dict(zip(titles, row, strict=True)) for row in rows]


def test_training_table_says_what_the_records_say(run, tree):
    text = f"# Title\n\n<!-- results: training -->\nold\n{END}\n\nAfter, {END} in a line\n"
    root = tree(RUNS, {"README.md": text})
    stale = run("tools/results.py", root, status=1).stdout.splitlines()
    assert stale == ["README.md:3: <!-- results: training --> is stale: run tools/results.py --fix"]
    assert (root / "README.md").read_text() == text
    assert "README.md:3: <!-- results: training --> rewritten" in run("tools/results.py", root, "--fix").stdout
    filled = (root / "README.md").read_text()
    assert filled.startswith("# Title\n\n<!-- results: training -->\n\n| Network")
    assert filled.endswith(f"\n\n{END}\n\nAfter, {END} in a line\n")
    assert run("tools/results.py", root).stdout == "1 tables of 4 records: all true\n"

    rows = rows_of(filled)
    names = ["copy", "lenet", "resnet", "deeper"]  # by data, then by test accuracy
    assert [row["Record"] for row in rows] == [f"[{name}](results/{name}.json)" for name in names]
    for row, record in zip(rows, [RUNS[name] for name in names], strict=True):
        assert float(row["Validation %"]) == pytest.approx(100 * record["validation"]["accuracy"], abs=0.005001)
        assert float(row["Test %"]) == pytest.approx(100 * record["test"]["accuracy"], abs=0.005001)
        assert int(row["Parameters"].replace(",", "")) == record["parameters"]
        assert int(row["Epochs"]) == record["settings"]["EPOCHS"]
        assert float(row["Minutes"]) * 60 == pytest.approx(record["seconds"], abs=3.001)
    assert [row["Data"] for row in rows] == ["CIFAR-10 (JPEG ¦ copy)", "a b.npz", "cifar10", "cifar10"]
    assert [row["Network"] for row in rows] == [
        "[resnet](4.ResNet/resnet.py) depth 20",
        "[lenet](1.LeNet/lenet.py) variant dp_da, width 2, only 900 training images",
        "[resnet](4.ResNet/resnet.py) depth 20",
        "[resnet](4.ResNet/resnet.py) depth 110",
    ]
    notes = [line for line in filled.splitlines() if line.startswith("- ")]
    assert notes[1] == (
        "- lenet: `python 1.LeNet/lenet.py --data 'a b.npz'`, seed 0; 1,491 images/s in float32 on AMD EPYC, 2 cores"
    )


def test_typed_number_and_changed_record_make_a_table_stale(run, tree):
    root = tree(RUNS, {"README.md": f"<!-- results: training -->\n{END}\n"})
    run("tools/results.py", root, "--fix")
    filled = (root / "README.md").read_text()
    (root / "README.md").write_text(filled.replace("86.79", "96.79"))
    assert "README.md:1: " in run("tools/results.py", root, status=1).stdout
    (root / "README.md").write_text(filled)
    tree({"resnet": changed(RUN, test__accuracy=0.8679)}, {})  # the same in the table
    run("tools/results.py", root)
    tree({"resnet": changed(RUN, test__accuracy=0.8680)}, {})
    assert "README.md:1: " in run("tools/results.py", root, status=1).stdout


def test_tables_in_folders_link_to_files_that_are_there(run, tree):
    def tables(*names):
        return "\n".join(f"<!-- results: {name} -->\n{END}" for name in names)

    in_code = "```\n<!-- results: what -->\n```\n"
    root = tree(
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


def test_ensembles_table_says_what_the_records_say(run, tree):
    marker = f"<!-- results: ensembles -->\n{END}\n"
    root = tree({}, {"README.md": marker})
    run("tools/results.py", root, "--fix")
    assert "\n\nnot measured\n\n" in (root / "README.md").read_text()
    assert run("tools/results.py", root).stdout == "1 tables of 0 records: all true\n"
    tree({**RUNS, "vote": ENSEMBLE, "jpeg": changed(ENSEMBLE, data_name="A first")}, {})
    run("tools/results.py", root, "--fix")
    text = (root / "README.md").read_text()
    rows = rows_of(text)
    assert [row["Ensemble"] for row in rows] == ["hard voting", "soft voting"] * 2
    assert [row["Data"] for row in rows] == ["A first", "A first", "cifar10", "cifar10"]
    assert rows[2]["Record"] == "[vote](results/vote.json)"
    for row, (validation, test) in zip(rows[2:], [(86.1, 74.32), (88.0, 77.77)], strict=True):
        assert (float(row["Validation %"]), float(row["Test %"])) == (validation, test)
        assert row["Gain over best member"] == f"{test - 75:+.2f}"
        assert row["95% interval"] == row["p, Holm"] == ""
    members = "[deeper](results/deeper.json), [lenet](results/lenet.json), runs/dd44/model.h5"
    assert f"- vote, of {members}: `python ensemble/voting.py a.h5 b.h5 c.h5`, weights 0.25, 0.25, 0.25 in" in text
    over = {"gain": 0.01, "low": -0.0042, "high": 0.0242, "adjusted_p": 0.00049}
    tree(
        {"vote": changed(ENSEMBLE, methods={"soft voting": ENSEMBLE["methods"]["soft voting"] | {"over_best": over}})},
        {},
    )
    run("tools/results.py", root, "--fix")
    row = rows_of((root / "README.md").read_text())[2]
    assert (row["95% interval"], row["p, Holm"]) == ("-0.42 to +2.42", "< 0.001")


def test_the_table_of_snapshots_has_each_and_what_is_made_of_them(run, tree):
    gain = {"gain": -0.0057, "low": -0.011, "high": 0.00041, "p": 0.02, "adjusted_p": 0.0604}
    methods = {
        "last snapshot": {"validation": {"accuracy": 0.70}, "test": {"accuracy": 0.95}, "over_single_run": gain},
        "single run": {"validation": {"accuracy": 0.72}, "test": {"accuracy": 0.9557}},
    }
    record = changed(ENSEMBLE, script="ensemble/snapshot.py", methods=methods) | {"best_on_validation": "single run"}
    root = tree({}, {"README.md": f"<!-- results: snapshots -->\n{END}\n", "b/README.md": ""})
    run("tools/results.py", root, "--fix")
    assert "\n\nnot measured\n\n" in (root / "README.md").read_text()
    tree({**RUNS, "vote": ENSEMBLE, "cycles": record}, {"b/README.md": f"<!-- results: ensembles -->\n{END}\n"})
    run("tools/results.py", root, "--fix")
    text = (root / "README.md").read_text()
    assert [tuple(row.values())[:1] + tuple(row.values())[2:6] for row in rows_of(text)] == [
        ("snapshot 1", "80.00", "91.00", "", ""),
        ("snapshot 2", "85.00", "75.00", "", ""),
        ("last snapshot", "70.00", "95.00", "-0.57 [-1.10, +0.04]", "0.060"),
        ("single run, best on validation", "72.00", "95.57", "", ""),
    ]
    assert "- cycles: `python ensemble/voting.py a.h5 b.h5 c.h5`; on AMD EPYC, 2 cores" in text
    assert "cycles" not in (root / "b/README.md").read_text()


def test_networks_table_has_the_best_run_on_validation_beside_the_figures_of_others(run, tree):
    settings = RUN["settings"] | {"DEPTH": 20}
    good = changed(RUN, validation__accuracy=0.9, test__accuracy=0.8) | {"settings": settings | {"VERSION": 2}}
    bad = changed(RUN, validation__accuracy=0.8, test__accuracy=0.9) | {"settings": settings}  # from before VERSION
    other = changed(RUN, validation__accuracy=0.99) | {"settings": settings | {"VERSION": 1}}
    hundred = changed(good, validation__accuracy=0.99) | {"data_name": "cifar100"}
    records = {"good": good, "bad": bad, "other": other, "hundred": hundred}
    root = tree(records, {"README.md": f"<!-- results: networks -->\n{END}\n"})
    run("tools/results.py", root, "--fix")
    rows = {row["Network"]: row for row in rows_of((root / "README.md").read_text())}
    row = rows["ResNet-20, pre-activation"]
    assert row["Ours %"] == "80.00" and row["Record"] == "[good](results/good.json)"
    assert row["Ancestor %"].startswith("91.82 (") and row["Paper %"] == ""
    assert rows["DenseNet-40-12"]["Paper %"].startswith("94.76 (Table 2") and rows["DenseNet-40-12"]["Record"] == ""
    assert {row["Ours %"] for name, row in rows.items() if name != "ResNet-20, pre-activation"} == {"not measured"}


def test_networks_table_finds_lenet_by_its_variant_and_by_the_settings_that_took_its_place(run, tree):
    def record(validation, data_name="CIFAR-10", **settings):
        lenet = changed(RUN, script="1.LeNet/lenet.py", validation__accuracy=validation) | {"data_name": data_name}
        return lenet | {"settings": {"DATA": "a.npz", **settings, "EPOCHS": 60, "SEED": 0}}

    used = {"AUGMENT": ["flip", "shift"], "WEIGHT_DECAY": 2e-4}  # in older records whatever VARIANT says
    now = {"PREPROCESS": "standardise", **used}
    records = {
        "old-plain": record(0.6, VARIANT="plain", **used),
        "new-plain": record(0.5, PREPROCESS="scale", AUGMENT=[], WEIGHT_DECAY=0.0),
        "old-dp": record(0.5, VARIANT="dp", **used),
        "new-dp": record(0.6, **now | {"AUGMENT": [], "WEIGHT_DECAY": 0.0}),
        "new-da": record(0.7, **now | {"WEIGHT_DECAY": 0.0}),
        "old-wd": record(0.6, VARIANT="dp_da_wd", **used),
        "new-wd": record(0.7, **now),
        "mnist": record(0.99, "MNIST", **now | {"AUGMENT": ["shift"]}),
        "no-step": record(0.9, PREPROCESS="scale", **used),
    }
    root = tree(records, {"README.md": f"<!-- results: networks -->\n{END}\n"})
    run("tools/results.py", root, "--fix")
    rows = [row for row in rows_of((root / "README.md").read_text()) if row["Network"].startswith("LeNet")]
    found = [row["Record"].split("]")[0] for row in rows]
    assert found == ["[old-plain", "[new-dp", "[new-da", "[new-wd"]


def test_the_table_of_fast_runs_has_those_named_so_by_their_time(run, tree):
    slow = changed(RUN, test__accuracy=0.9) | {"seconds": 600.0, "command": "python a.py --epochs 9"}
    records = {"fast-90": slow, "fast-80": slow | {"seconds": 90.0}, "slow": slow}
    root = tree(records, {"README.md": f"<!-- results: fast -->\n{END}\n"})
    run("tools/results.py", root, "--fix")
    first, second = rows_of((root / "README.md").read_text())
    assert (first["Minutes"], second["Minutes"]) == ("1.5", "10.0")
    assert first["Record"] == "[fast-80](results/fast-80.json)" and second["Command"] == "`python a.py --epochs 9`"
    assert second["Test %"] == "90.00"


def test_weights_are_those_of_their_record(run, refused, tree, tmp_path):
    model = tmp_path / "runs" / "a" / "model.h5"
    model.parent.mkdir(parents=True)
    model.write_bytes(b"weights")
    record = changed(RUN, model=hashlib.sha256(b"weights").hexdigest())
    (model.parent / "run.json").write_text(json.dumps(record))
    root = tree({}, {"README.md": f"<!-- results: training -->\n{END}\n"})
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


def test_tables_of_schedules_and_grids_say_what_the_records_say(run, tree):
    root = tree(
        {}, {"htd/README.md": f"<!-- results: schedules -->\n{END}\n", "README.md": f"<!-- results: grids -->\n{END}\n"}
    )
    run("tools/results.py", root, "--fix")
    assert all("\n\nnot measured\n\n" in (root / path).read_text() for path in ("README.md", "htd/README.md"))
    tree({**RUNS, "vote": ENSEMBLE, "htd": SCHEDULES, "cells": GRID | {"data_name": "CIFAR-10 (JPEG copy)"}}, {})
    run("tools/results.py", root, "--fix")
    text = (root / "htd/README.md").read_text()
    rows = rows_of(text)
    assert [row["Schedule"] for row in rows] == ["step", "tanh", "cosine"]
    assert rows[1] == {
        "Schedule": "tanh",
        "Network": "[lenet](../1.LeNet/lenet.py) variant dp",
        "Data": "cifar10",
        "Epochs": "30",
        "Seeds": "2",
        "Validation %": "70.00",
        "Test %": "85.00 ± 1.23",
        "Test, median": "80.00",
        "Test, best on validation": "82.00",
        "Test, less the first's": "+3.77 [-1.00, +8.53]",
        "Minutes a run": "2.0",
        "Record": "[htd](../results/htd.json)",
    }
    assert [row["Test, less the first's"] for row in rows] == ["", "+3.77 [-1.00, +8.53]", "-1.10"]
    assert "- htd: `python htd/compare.py --seeds 2`; float32 on AMD EPYC, 2 cores" in text
    rows = rows_of((root / "README.md").read_text())
    assert [(row["L"], row["U"], row["Validation %"], row["Test %"]) for row in rows] == [
        ("-2.5", "3", "81.23 ± 1.23", "79.00 ± 1.23"),
        ("-6", "3", "70.00", ""),
    ]
    assert rows[0]["Data"] == "CIFAR-10 (JPEG copy)" and rows[0]["Record"] == "[cells](results/cells.json)"


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
    assert "run.json lacks test.accuracy" in refused(*add, "--name", "x")
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["named.json", "plain.json"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", "bad.json cannot be read as JSON"),
        ([], "bad.json is no record of a run or an ensemble"),
        ({"seconds": 1}, "bad.json is no record of a run or an ensemble"),
        (changed(RUN, settings__DATA=None), "bad.json lacks settings.DATA"),
        (changed(RUN, settings=[]), "bad.json lacks settings.DATA"),
        (changed(RUN, parameters="many"), "bad.json has 'many' as parameters, which must be a whole number"),
        (changed(RUN, parameters=True), "bad.json has True as parameters, which must be a whole number"),
        (changed(RUN, test__accuracy=86.8), "bad.json has 86.8 as test.accuracy, which cannot be"),
        (changed(RUN, seconds=float("nan")), "bad.json has nan as seconds, which cannot be"),
        (changed(RUN, data_name=1), "bad.json has 1 as data_name, which must be a text"),
        (changed(ENSEMBLE, members=[]), "bad.json has no members"),
        (changed(ENSEMBLE, members=[1]), "bad.json lacks members[0].path"),
        (changed(ENSEMBLE, members=[{**ENSEMBLE["members"][0], "weight": "a"}]), "'a' as members[0].weight"),
        (changed(ENSEMBLE, methods={"mean": {}}), "bad.json lacks methods['mean'].validation.accuracy"),
        (changed(SCHEDULES, schedules__tanh__test__mean=85.0), "has 85.0 as schedules['tanh'].test.mean, which cannot"),
        (changed(SCHEDULES, training__settings__EPOCHS=None), "bad.json lacks training.settings.EPOCHS"),
        (changed(GRID, grid__chosen__test=None), "bad.json lacks grid.chosen.test"),
        (changed(GRID, runs=[{}]), "bad.json lacks runs[0].seed"),
        (changed(SCHEDULES, schedules__tanh__difference=[]), "difference, which must be a group of values"),
        (changed(ENSEMBLE, **{"methods__soft voting__over_best": {}}), "lacks methods['soft voting'].over_best.low"),
        (changed(ENSEMBLE, **{"methods__soft voting__over_single_run": {"low": 0.0}}), "over_single_run.high; record"),
        (changed(GRID, grid__cells=[{"from": -6, "to": -3}]), "has -3 as grid, pair 0: to, which cannot be"),
    ],
)
def test_results_refuses_a_bad_record(refused, tree, record, message):
    root = tree({"good": RUN}, {"README.md": f"<!-- results: training -->\n{END}\n"})
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
def test_results_refuses_a_bad_table(refused, tree, text, message):
    root = tree({"good": RUN}, {"README.md": text})
    assert message in refused("tools/results.py", root, "--fix")
    assert (root / "README.md").read_text() == text


# This repository


@pytest.mark.parametrize("tool", ["tools/copies.py", "tools/results.py"])
def test_this_repository_is_true(run, tool):
    assert run(tool).stdout.endswith(": all true\n")


# tools/minutes.py
def test_minutes_are_those_of_the_epochs_so_far(run, refused, tmp_path):
    import minutes

    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("epoch,val_accuracy,seconds\n1,0.25,90\n2,0.75,30\n")
    record = {"validation": {"accuracy": 0.8}, "test": {"accuracy": 0.7}, "device": "a computer"}
    (folder / "run.json").write_text(json.dumps(record))
    (axes,) = minutes.draw({"a": minutes.read_run(folder)}).axes
    curve, circle, star = axes.lines
    assert curve.get_xydata().tolist() == [[1.5, 25], [2.0, 75]]
    assert circle.get_xydata().tolist() == [[2.0, pytest.approx(80)]]
    assert star.get_xydata().tolist() == [[2.0, pytest.approx(70)]]
    assert "a: 70.00% on test after 2.0 minutes" in axes.get_legend().get_texts()[0].get_text()
    assert "a computer" in axes.get_title()
    run("tools/minutes.py", "runs/a", "--out", "minutes.png")
    drawn = (tmp_path / "minutes.png").read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert "minutes.png: give the name" in refused("tools/minutes.py", "runs/a", "--out", "minutes.png")
    assert "have one name: a, a" in refused("tools/minutes.py", "runs/a", "runs/../runs/a", "--out", "b.png")
    for name in ("history.csv", "run.json"):
        kept = (folder / name).read_text()
        (folder / name).write_text(kept.partition("\n")[0] if name == "history.csv" else "")
        assert "runs/a is no finished run" in refused("tools/minutes.py", "runs/a", "--out", "b.png")
        (folder / name).write_text(kept)
    assert (tmp_path / "minutes.png").read_bytes() == drawn
