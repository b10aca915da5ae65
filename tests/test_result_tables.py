"""What the tables of tools/results.py say, which its user has them filled with, on small trees of files."""

import itertools

import pytest
from conftest import SCRIPTS
from sample_records import END, ENSEMBLE, GRID, RUN, RUNS, SCHEDULES, changed, rows_of, write_tree

from tools.networks import TRAINED


def test_training_table_says_what_the_records_say(run, tmp_path):
    text = f"# Title\n\n<!-- results: training -->\nold\n{END}\n\nAfter, {END} in a line\n"
    root = write_tree(tmp_path, RUNS, {"README.md": text})
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


def test_networks_table_has_the_best_run_on_validation_beside_the_figures_of_others(run, tmp_path):
    settings = RUN["settings"] | {"DEPTH": 20}
    good = changed(RUN, validation__accuracy=0.9, test__accuracy=0.8) | {"settings": settings | {"VERSION": 2}}
    bad = changed(RUN, validation__accuracy=0.8, test__accuracy=0.9) | {"settings": settings}  # from before VERSION
    other = changed(RUN, validation__accuracy=0.99) | {"settings": settings | {"VERSION": 1}}
    hundred = changed(good, validation__accuracy=0.99) | {"data_name": "cifar100"}
    narrow = changed(good) | {"settings": settings | {"VERSION": 2, "BOTTLENECK": "yes", "DEPTH": 164}}
    deep = changed(bad, settings__DEPTH=164, validation__accuracy=0.99)  # from before BOTTLENECK, so without
    vgg = changed(good, script="3.VGG/vgg.py", settings__DEPTH=16)
    tuned = changed(vgg, validation__accuracy=0.99) | {"settings": vgg["settings"] | {"WEIGHTS": "imagenet"}}
    limited = changed(good, validation__accuracy=0.99) | {"settings": good["settings"] | {"LIMIT": 2000}}
    records = {"good": good, "bad": bad, "other": other, "hundred": hundred, "narrow": narrow, "deep": deep, "vgg": vgg}
    records |= {"tuned": tuned, "limited": limited}
    root = write_tree(tmp_path, records, {"README.md": f"<!-- results: networks -->\n{END}\n"})
    run("tools/results.py", root, "--fix")
    rows = {row["Network"]: row for row in rows_of((root / "README.md").read_text())}
    assert rows["VGG-16"]["Record"] == "[vgg](results/vgg.json)"
    row = rows["ResNet-20, pre-activation"]
    assert row["Ours %"] == "80.00" and row["Record"] == "[good](results/good.json)"
    assert row["Ancestor %"].startswith("91.82 (") and row["Paper %"] == ""
    assert rows["DenseNet-40-12"]["Paper %"].startswith("94.76 (Table 2") and rows["DenseNet-40-12"]["Record"] == ""
    assert rows["ResNet-20, original"]["Paper %"].startswith("91.25 (Table 6")
    assert rows["ResNet-20, original"]["Record"] == "[other](results/other.json)"
    assert rows["ResNet-164, pre-activation bottlenecks"]["Record"] == "[narrow](results/narrow.json)"
    ours = {name for name, row in rows.items() if row["Ours %"] != "not measured"}
    assert ours == {
        "ResNet-20, pre-activation",
        "ResNet-20, original",
        "ResNet-164, pre-activation bottlenecks",
        "VGG-16",
    }
    assert "VGG-13" not in rows  # of which nobody has a figure

    (root / "README.md").write_text(f"<!-- results: collection -->\n{END}\n")
    run("tools/results.py", root, "--fix")
    collection = rows_of((root / "README.md").read_text())
    assert [row["Script"] for row in collection] == [f"[`{script}`]({script})" for script in SCRIPTS]
    rows = {row["Script"].partition("`")[2].partition("`")[0]: row for row in collection}
    row = rows["4.ResNet/resnet.py"]
    assert row["Paper's best %"] == "95.08 (ResNet-1001, pre-activation bottlenecks)"
    assert row["Ours so far %"] == "[86.79](results/other.json) (ResNet-20, original)"  # the best on validation
    assert (row["Parameters"], row["Minutes"], row["Device"]) == ("273,658", "45", "AMD EPYC, 2 cores")
    assert rows["3.VGG/vgg.py"]["Ours so far %"].endswith("(VGG-16)") and rows["3.VGG/vgg.py"]["Paper's best %"] == ""
    assert rows["2.NIN/nin.py"]["Ours so far %"] == "not measured"


def test_no_run_is_of_two_networks():
    for one, other in itertools.combinations(TRAINED, 2):
        shared = one.settings.keys() & other.settings.keys()
        differ = any(one.settings[name] != other.settings[name] for name in shared)
        assert one.script != other.script or differ, (one.name, other.name)


def test_networks_table_finds_lenet_by_its_variant_and_by_the_settings_that_took_its_place(run, tmp_path):
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
    root = write_tree(tmp_path, records, {"README.md": f"<!-- results: networks -->\n{END}\n"})
    run("tools/results.py", root, "--fix")
    rows = [row for row in rows_of((root / "README.md").read_text()) if row["Network"].startswith("LeNet")]
    found = [row["Record"].split("]")[0] for row in rows]
    assert found == ["[old-plain", "[new-dp", "[new-da", "[new-wd"]


def test_the_table_of_fast_runs_has_those_named_so_by_their_time(run, tmp_path):
    slow = changed(RUN, test__accuracy=0.9) | {"seconds": 600.0, "command": "python a.py --epochs 9"}
    records = {"fast-90": slow, "fast-80": slow | {"seconds": 90.0}, "slow": slow}
    root = write_tree(tmp_path, records, {"README.md": f"<!-- results: fast -->\n{END}\n"})
    run("tools/results.py", root, "--fix")
    first, second = rows_of((root / "README.md").read_text())
    assert (first["Minutes"], second["Minutes"]) == ("1.5", "10.0")
    assert first["Record"] == "[fast-80](results/fast-80.json)" and second["Command"] == "`python a.py --epochs 9`"
    assert second["Test %"] == "90.00"


def test_ensembles_table_says_what_the_records_say(run, tmp_path):
    marker = f"<!-- results: ensembles -->\n{END}\n"
    root = write_tree(tmp_path, {}, {"README.md": marker})
    run("tools/results.py", root, "--fix")
    assert "\n\nnot measured\n\n" in (root / "README.md").read_text()
    assert run("tools/results.py", root).stdout == "1 tables of 0 records: all true\n"
    write_tree(tmp_path, {**RUNS, "vote": ENSEMBLE, "jpeg": changed(ENSEMBLE, data_name="A first")}, {})
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
    write_tree(
        tmp_path,
        {"vote": changed(ENSEMBLE, methods={"soft voting": ENSEMBLE["methods"]["soft voting"] | {"over_best": over}})},
        {},
    )
    run("tools/results.py", root, "--fix")
    row = rows_of((root / "README.md").read_text())[2]
    assert (row["95% interval"], row["p, Holm"]) == ("-0.42 to +2.42", "< 0.001")


def test_the_table_of_snapshots_has_each_and_what_is_made_of_them(run, tmp_path):
    gain = {"gain": -0.0057, "low": -0.011, "high": 0.00041, "p": 0.02, "adjusted_p": 0.0604}
    methods = {
        "last snapshot": {"validation": {"accuracy": 0.70}, "test": {"accuracy": 0.95}, "over_single_run": gain},
        "single run": {"validation": {"accuracy": 0.72}, "test": {"accuracy": 0.9557}},
    }
    record = changed(ENSEMBLE, script="ensemble/snapshot.py", methods=methods) | {"best_on_validation": "single run"}
    root = write_tree(tmp_path, {}, {"README.md": f"<!-- results: snapshots -->\n{END}\n", "b/README.md": ""})
    run("tools/results.py", root, "--fix")
    assert "\n\nnot measured\n\n" in (root / "README.md").read_text()
    write_tree(
        tmp_path, {**RUNS, "vote": ENSEMBLE, "cycles": record}, {"b/README.md": f"<!-- results: ensembles -->\n{END}\n"}
    )
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


def test_tables_of_schedules_and_grids_say_what_the_records_say(run, tmp_path):
    root = write_tree(
        tmp_path,
        {},
        {"htd/README.md": f"<!-- results: schedules -->\n{END}\n", "README.md": f"<!-- results: grids -->\n{END}\n"},
    )
    run("tools/results.py", root, "--fix")
    assert all("\n\nnot measured\n\n" in (root / path).read_text() for path in ("README.md", "htd/README.md"))
    write_tree(
        tmp_path,
        {**RUNS, "vote": ENSEMBLE, "htd": SCHEDULES, "cells": GRID | {"data_name": "CIFAR-10 (JPEG copy)"}},
        {},
    )
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
