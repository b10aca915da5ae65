"""The quick cases of tests/faults/, and that a case which goes wrong is seen to."""

import subprocess
import sys

import pytest
from conftest import ROOT
from faults import harness, run
from faults.harness import GIGABYTE, Case, judge, race, then_again, try_case

QUICK = [case for case in run.CASES if case.quick]
PASSES = "import sys\nprint('done')\n"
REFUSES = "import sys\nprint('x.txt is broken: mend it', file=sys.stderr)\nsys.exit(2)\n"
WRITES = "from pathlib import Path\n"


@pytest.mark.parametrize("case", QUICK, ids=[f"{case.kind}: {case.name!a}" for case in QUICK])
def test_of_the_suite(case):
    outcome, _ = try_case(case)
    assert outcome == "passed" or outcome.startswith("skipped")


def complaints(folder, script, **expected):
    """Return the complaints about a script, given as text."""
    (folder / "place").mkdir()
    (folder / "script.py").write_text(script)
    return judge(Case(0, "", (str(folder / "script.py"),), **expected), folder / "place")[0]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (PASSES, {"status": (0,)}),
        (REFUSES, {}),
        (REFUSES, {"says": ("x.txt",)}),
        (PASSES, {"status": (0,), "leaves": ()}),
    ],
)
def test_what_is_as_expected(script, expected, tmp_path):
    assert complaints(tmp_path, script, **expected) == []


@pytest.mark.parametrize(
    ("script", "expected", "complaint"),
    [
        ("1 / 0", {}, "a traceback: ZeroDivisionError"),
        ("1 / 0", {"status": (1,), "lines": 99}, "a traceback"),
        ("import sys\nsys.exit('one line')", {}, "status 1"),
        (PASSES, {}, "status 0"),
        (REFUSES, {"status": (0,)}, "status 2"),
        (REFUSES.replace("mend it", "\\nmend it"), {}, "2 lines on stderr"),
        (REFUSES, {"lines": 0}, "1 lines on stderr"),
        (REFUSES, {"says": ("y.txt",)}, "stderr does not say 'y.txt'"),
        (
            REFUSES.replace("mend it", "{'x' * 20_000}").replace("'x.txt", "f'x.txt").replace("'x' *", '"x" *'),
            {},
            "a line of 20,0",
        ),
        ("import sys\nsys.exit(2)", {}, "without a word"),
        ("import os\nos.abort()", {}, "status -6"),
        ("import time\ntime.sleep(60)", {"seconds": 0.5}, "no end within"),
        ("import time\nx = bytearray(2 * 10**8)\ntime.sleep(0.5)", {"status": (0,), "peak": 10**8}, "GB of memory"),
        ("x = bytearray(2 * 10**9)", {"status": (0,), "address_space": GIGABYTE}, "a traceback: MemoryError"),
        ("open('x.json', 'w').write('[NaN]')", {"status": (0,)}, "x.json is broken: NaN"),
        ("open('x.npz', 'w').write('x')", {"status": (0,)}, "x.npz is broken"),
        ("open('unfinished-x', 'w').write('x')", {"status": (0,)}, "unfinished-x stays"),
        (PASSES, {"status": (0,), "leaves": ("*.h5",)}, "*.h5 is not there"),
        (PASSES * 99, {"status": (0,), "streams": ("stdout full",)}, "status 120"),
        ("print('x' * 99_999, flush=True)", {"status": (0,), "streams": ("gone",)}, "a traceback: BrokenPipeError"),
        ("print('\\n' * 999_999, flush=True)", {"status": (0,), "streams": ("head",)}, "a traceback: BrokenPipeError"),
        ("print('ü')", {"status": (0,), "env": {"PYTHONIOENCODING": "ascii"}}, "a traceback: UnicodeEncodeError"),
        ("import sys\nsys.stdout.write('x')", {"status": (0,), "streams": ("stdout closed",)}, "a traceback"),
    ],
)
def test_what_is_not_as_expected(script, expected, complaint, tmp_path):
    found = complaints(tmp_path, script, **expected)
    assert any(complaint in text for text in found), found


@pytest.mark.parametrize("script", ["open('old', 'w').write('x')", "import os\nos.remove('old')"])
def test_a_file_that_is_lost_or_changed(script, tmp_path):
    def old(folder):
        (folder / "old").write_text("my work")

    for changes, count in ((), 1), (("old",), 0):
        place = tmp_path / str(count)
        place.mkdir()
        assert len(complaints(place, script, status=(0,), setup=old, changes=changes)) == count


WHOLE = """import os, sys
from pathlib import Path
beside = Path(f"beside-{os.getpid()}")
beside.write_text("x" * 1000)
"""
CARELESS = WHOLE + "os.replace(beside, 'v')\n"
CAREFUL = (
    WHOLE
    + """try:
    os.link(beside, "v")
except FileExistsError:
    print("v is there already", file=sys.stderr)
    sys.exit(2)
finally:
    beside.unlink()
"""
)


@pytest.mark.parametrize(("script", "complaint"), [(CARELESS, "v was replaced"), (CAREFUL, None)])
def test_a_race(script, complaint, tmp_path):
    slow = "os.replace" if script == CARELESS else "os.link"
    found = complaints(tmp_path, script, status=(0,), play=race("v", apart=0.3, slow=slow))
    assert complaint in found if complaint else not found


TIDY = WHOLE.replace("beside-{os.getpid()}", "beside") + "os.replace(beside, 'v')\n"
UNTIDY = WHOLE.replace("beside-", "unfinished-") + "os.replace(beside, 'v')\n"
STUCK = "import sys\nfrom pathlib import Path\nif Path('beside').exists():\n    sys.exit(1)\n" + TIDY


@pytest.mark.parametrize(("script", "complaint"), [(TIDY, None), (UNTIDY, "stays"), (STUCK, "second: status 1")])
def test_a_kill(script, complaint, tmp_path):
    play = then_again("kill os.replace 1 before")
    found = complaints(tmp_path, script, status=(0,), leaves=("v",), play=play)
    assert any(complaint in text for text in found) if complaint else not found


def test_the_table(tmp_path, monkeypatch):
    """What was tried now has its row, and the others keep theirs; no row of a case that is no more."""
    readme = tmp_path / "README.md"
    first, second, *_ = run.CASES
    row = f"| {second.kind} | {run.cell(second.name)} | passed | 9.9 |"
    readme.write_text(f"before\n{run.START}\n{row}\n| 1 | no such case | passed | 1.0 |\n{run.END}\nafter\n")
    monkeypatch.setattr(run, "README", readme)
    run.write_table({(first.kind, first.name): ("FAILED: a | b", 1.23)})
    lines = readme.read_text().splitlines()
    assert lines[0] == "before" and lines[-1] == "after"
    assert f"| {first.kind} | {run.cell(first.name)} | FAILED: a \\| b | 1.2 |" in lines and row in lines
    assert not any("no such case" in line for line in lines)


def test_cases():
    """Every kind has its cases, some of them quick; no two are called the same; each command is there."""
    assert {case.kind for case in run.CASES} == {case.kind for case in QUICK} == set(range(1, 9))
    assert len({(case.kind, case.name) for case in run.CASES}) == len(run.CASES)
    assert all((ROOT / case.command[0]).is_file() for case in run.CASES)


def test_the_command():
    done = subprocess.run(
        [sys.executable, harness.ROOT / "tests/faults/run.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "--kind" in done.stdout
