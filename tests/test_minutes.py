"""tools/minutes.py, on the files of a small run."""

import json

import pytest

from tools.minutes import draw, read_run


def test_minutes_are_those_of_the_epochs_so_far(run, refused, tmp_path):
    folder = tmp_path / "runs" / "a"
    folder.mkdir(parents=True)
    (folder / "history.csv").write_text("epoch,val_accuracy,seconds\n1,0.25,90\n2,0.75,30\n")
    record = {"validation": {"accuracy": 0.8}, "test": {"accuracy": 0.7}, "device": "a computer"}
    (folder / "run.json").write_text(json.dumps(record))
    (axes,) = draw({"a": read_run(folder)}).axes
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
