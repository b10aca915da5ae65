"""tools/copies.py, run as its user runs it, on small trees of scripts."""

import pytest

from tools import copies as copies_tool

HOME, NIN, WIDE = "4.ResNet/resnet.py", "2.NIN/nin.py", "10.Wide/wide.py"  # by number, 2 comes before 10
LINE = f"# From here on as in {HOME}\n"
IMPORTS = "import sys\nfrom pathlib import Path\n\n"
BLOCK = f"""{LINE}def fail(message):
    if message:
        print(message)
    sys.exit(2)


if __name__ == "__main__":
    fail(Path.cwd())
"""

HOME_TEXT = f'''"""The home.

Its line, {LINE}    is named here too.
"""

{IMPORTS}# Settings
DATA = "digits"  # where the images come from
DEPTH = 20  # layers with weights: 6n + 2
TEST_SEED = 0  # of all draws
SEED = 0  # of all draws


# Network
def build_model(shape):
    """Return the network."""

    def convolution(x):
        """Return x, convolved."""
        x = x + DEPTH  # padded
        x = x * 2
        return x

    def relu(x):
        x = max(x, 0)
        return x

    return relu(convolution(shape))


{BLOCK}'''

NIN_TEXT = f'''"""A network of two inner functions."""

{IMPORTS}# Settings
DATA = "# where the images come from"  # where the images come from
# Differs from {HOME}
DEPTH = 9  # layers with weights
TEST_SEED = 1  # of all draws
SEED = 1  # of all draws
WIDTH = 4  # of the layers


# Network
def build_model(shape):
    # As in {HOME}
    def convolution(x, again=1):
        x = x + DEPTH
        x = x * 2
        return x

    def rectify(x):
        x = max(x, 0)
        return x

    def pool(x):
        for size in (2, 4):
            x = x / size
        return x

    return pool(rectify(convolution(shape)))


{BLOCK}'''

WIDE_TEXT = f'''"""A network with a setting that the home lacks."""

{IMPORTS}# Settings
WIDTH = 8  # of the layers


# Network
def build_model(shape):
    shape = shape * WIDTH
    print(shape)
    return shape


{BLOCK}'''

TREE = {HOME: HOME_TEXT, NIN: NIN_TEXT, WIDE: WIDE_TEXT, "tools/other.py": "SEED = 2  # another\n"}
TRUE = "3 scripts share imports, comments of settings and a block of 9 lines: all true"


@pytest.fixture
def tree(tmp_path):
    """Write TREE after edits (script, old text, new text); return {script: text}."""

    def write(*edits):
        texts = dict(TREE)
        for script, old, new in edits:
            assert texts[script].count(old) == 1, old  # an edit that does nothing, or too much, tests nothing
            texts[script] = texts[script].replace(old, new)
        for script, text in texts.items():
            (tmp_path / script).parent.mkdir(exist_ok=True)
            (tmp_path / script).write_text(text)
        return texts

    return write


@pytest.fixture
def copies(run, tmp_path):
    """Run copies.py on the tree; return its lines on stdout."""

    def lines(*options, status=0):
        done = run("tools/copies.py", tmp_path, *options, status=status)
        assert done.stderr == ""
        return done.stdout.splitlines()

    return lines


END = "(end)"


def placed(faults, root):
    """Return the lines that name the faults (script, line or what it begins with, text); END is past the last line."""
    for script, line, text in faults:
        lines = [*(root / script).read_text().splitlines(), END]
        if isinstance(line, str):
            (line,) = (number for number, found in enumerate(lines, 1) if found.startswith(line))
        yield f"{script}:{line}: {text}"


BLOCK_DIFFERS, IMPORTS_DIFFER = (f"the {name} from {HOME}: " for name in ("block differs", "imports differ"))
LAST = "    fail(Path.cwd())\n"
DRAWS = (HOME, "\nSEED = 0  # of all draws", "\nSEED = 0  # of each draw")  # not those of TEST_SEED
SECTIONS = f"needs docstring, imports, '# Settings', '# Network' and '{LINE.strip()}', in this order, each once"
NOT_DIFFERENT = f"DEPTH does not differ from {HOME}, or its home is not that: take it away"
NOT_AS = f"is not as in {HOME}: make it so, or take the mark away"


def convolve(script, mark=""):
    """The edit that gives a script a function with the body of HOME's inner one."""
    body = "def convolve(y):\n    x = x + DEPTH\n    x = x * 2\n    return x\n\n\n"
    return (script, "def build_model", f"{mark}{body}def build_model")


TRUE_TREES = {
    # NIN's convolution is as HOME's but for arguments, docstring and comments; rectify has two lines;
    # fail, below the line, stands in all scripts
    "as it is": [],
    "a marked function": [convolve(WIDE, f"# As in {HOME}\n")],
    "a body twice in one script": [convolve(HOME)],
    "another comment of a marked setting": [(NIN, "layers with weights", "layers")],
    "another comment of what is no setting": [(WIDE, "print(shape)", "SEED = 1  # of the shape")],
}


@pytest.mark.parametrize("name", TRUE_TREES)
def test_true_copies_pass(tree, copies, name):
    tree(*TRUE_TREES[name])
    assert copies() == [TRUE]


FAULTS = {
    "line of the block": (
        [(NIN, "sys.exit(2)", "sys.exit(3)")],
        [(NIN, "    sys.exit", BLOCK_DIFFERS + r"'    sys.exit(3)\n', where that has '    sys.exit(2)\n'")],
    ),
    "indentation in the block": (
        [(NIN, "    sys.exit(2)", "        sys.exit(2)")],
        [(NIN, "        sys.exit", BLOCK_DIFFERS + r"'        sys.exit(2)\n', where that has '    sys.exit(2)\n'")],
    ),
    "shorter block": (
        [(NIN, '\n\n\nif __name__ == "__main__":\n' + LAST, "\n")],
        [(NIN, END, BLOCK_DIFFERS + r"'its end', where that has '\n'")],
    ),
    "longer block": (
        [(NIN, LAST, LAST + "    sys.exit()\n")],
        [(NIN, "    sys.exit()", BLOCK_DIFFERS + r"'    sys.exit()\n', where that has 'its end'")],
    ),
    "no end of the last line": (
        [(NIN, LAST, LAST.rstrip())],
        [(NIN, "    fail(", BLOCK_DIFFERS + r"'    fail(Path.cwd())', where that has '    fail(Path.cwd())\n'")],
    ),
    "block of the home": (
        [(HOME, LAST, LAST + "    sys.exit()\n")],
        [(script, END, BLOCK_DIFFERS + r"'its end', where that has '    sys.exit()\n'") for script in (NIN, WIDE)],
    ),
    "line of the imports": (
        [(NIN, "import sys", "import os, sys")],
        [(NIN, "import os", IMPORTS_DIFFER + r"'import os, sys\n', where that has 'import sys\n'")],
    ),
    "shorter imports": (
        [(NIN, "Path\n\n", "Path\n")],
        [(NIN, "# Settings", IMPORTS_DIFFER + r"'its end', where that has '\n'")],
    ),
    "longer imports, and the lines of what follows": (
        [
            (NIN, "Path\n\n", "Path\n\nimport keras\n\n"),
            (NIN, "sys.exit(2)", "sys.exit(3)"),
            (NIN, "of the layers", "of layers"),
            (WIDE, "of the layers", "of each layer"),
        ],
        [
            (NIN, "import keras", IMPORTS_DIFFER + r"'import keras\n', where that has 'its end'"),
            (NIN, "    sys.exit", BLOCK_DIFFERS + r"'    sys.exit(3)\n', where that has '    sys.exit(2)\n'"),
            (WIDE, "WIDTH", f"WIDTH has another comment than in {NIN}: # of each layer and # of layers"),
        ],
    ),
    "comment of a setting": (
        [(NIN, "weights\nTEST_SEED = 1  # of all", "weights\nTEST_SEED = 1  # of most")],
        [(NIN, "TEST_SEED", f"TEST_SEED has another comment than in {HOME}: # of most draws and # of all draws")],
    ),
    "comment of a setting whose line ends another one": (
        [DRAWS],
        [(NIN, "SEED", f"SEED has another comment than in {HOME}: # of all draws and # of each draw")],
    ),
    "comment of a setting without its mark": (
        [(NIN, f"# Differs from {HOME}\n", "")],
        [
            (
                NIN,
                "DEPTH",
                f"DEPTH has another comment than in {HOME}: # layers with weights and # layers with weights: 6n + 2",
            )
        ],
    ),
    "superfluous mark": (
        [(NIN, "layers with weights", "layers with weights: 6n + 2")],
        [(NIN, "# Differs", NOT_DIFFERENT)],
    ),
    "mark in the home": (
        [(HOME, "DEPTH = 20", f"# Differs from {HOME}\nDEPTH = 20")],
        [(HOME, "# Differs", NOT_DIFFERENT)],
    ),
    "mark with a wrong home": (
        [(NIN, f"Differs from {HOME}", f"Differs from {WIDE}")],
        [(NIN, "# Differs", NOT_DIFFERENT.replace(HOME, WIDE))],
    ),
    "mark with a home that lacks the setting": (
        [(WIDE, "WIDTH = 8  # of the", f"# Differs from {HOME}\nWIDTH = 8  # of")],
        [(WIDE, "# Differs", NOT_DIFFERENT.replace("DEPTH", "WIDTH"))],
    ),
    **{
        f"{what} {section.strip()}": ([(NIN, f"\n{section}", edited)], [(NIN, 1, SECTIONS)])
        for section in ("# Settings\n", "# Network\n", LINE)
        for what, edited in (
            ("no", "\n"),
            ("twice", f"\n{section}\n{section}"),
            ("not at a line's start", f" {section}"),
        )
    },
    "no docstring": ([(NIN, '"""A network of two inner functions."""\n\n', "")], [(NIN, 1, SECTIONS)]),
    "no imports": ([(NIN, IMPORTS, "")], [(NIN, 1, SECTIONS)]),
    "wrong order": (
        [(NIN, "# Settings", "# N"), (NIN, "# Network", "# Settings"), (NIN, "# N\n", "# Network\n")],
        [(NIN, 1, SECTIONS)],
    ),
    "home without a section": ([(HOME, "# Network\n", "")], [(HOME, 1, SECTIONS)]),  # and no word of the others
    "function without its mark": (
        [convolve(WIDE)],
        [(WIDE, "def convolve", f"convolve also stands in {HOME}: write '# As in {HOME}' above it")],
    ),
    "nested function without its mark": (
        [(NIN, f"    # As in {HOME}\n", "")],
        [(NIN, "    def convolution", f"convolution also stands in {HOME}: write '# As in {HOME}' above it")],
    ),
    "function that the home lacks": (
        [
            (
                WIDE,
                "    shape = shape * WIDTH\n    print(shape)\n    return shape\n",
                "    for size in (2, 4):\n        x = x / size\n    return x\n",
            )
        ],
        [(WIDE, "def build_model", f"build_model also stands in {NIN}: write '# As in {NIN}' above it")],
    ),
    "third line of a body": (
        [(script, "x = max(x, 0)\n", "x = max(x, 0)\n        x = x + 1\n") for script in (HOME, NIN)],
        [(NIN, "    def rectify", f"rectify also stands in {HOME}: write '# As in {HOME}' above it")],
    ),
    "mark cut off from its function": (
        [convolve(WIDE, f"# As in {HOME}\n\n")],
        [(WIDE, "def convolve", f"convolve also stands in {HOME}: write '# As in {HOME}' above it")],
    ),
    "marked function that is another": (
        [(NIN, "x = x * 2", "x = x * 3")],
        [(NIN, "    def convolution", f"convolution {NOT_AS}")],
    ),
    "marked function whose home is changed": (
        [(HOME, "x = x * 2", "x = x * 3")],
        [(NIN, "    def convolution", f"convolution {NOT_AS}")],
    ),
    "mark in the home of a function": (
        [(HOME, "    def convolution", f"    # As in {NIN}\n    def convolution")],
        [
            (HOME, "    def convolution", f"convolution {NOT_AS.replace(HOME, NIN)}"),
            (NIN, "    def convolution", f"convolution {NOT_AS}"),
        ],
    ),
    **{
        f"mark with {what}": (
            [convolve(WIDE, f"# As in {home}\n")],
            [(WIDE, "def convolve", f"convolve {NOT_AS.replace(HOME, home)}")],
        )
        for what, home in (("a marked script", NIN), ("its own script", WIDE), ("no script", "5.Gone/gone.py"))
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_named_with_its_place(tree, copies, fault, tmp_path):
    edits, expected = FAULTS[fault]
    texts = tree(*edits)
    assert copies(status=1) == list(placed(expected, tmp_path))
    assert {script: (tmp_path / script).read_text() for script in texts} == texts  # nothing is mended unasked


def test_fix_rewrites_blocks_imports_and_comments_and_nothing_else(tree, copies, tmp_path):
    changes = [
        ("sys.exit(2)", "sys.exit(3)\n    print()"),
        ("import sys\n", "import os\nimport sys\n"),
        ("  # where the images come from", "  # where the pixels come from"),  # NIN's value has these words too
        DRAWS[1:],
    ]
    texts = tree(*((HOME, *change) for change in changes), (WIDE, "of the layers", "of each layer"))
    (tmp_path / NIN).chmod(0o755)
    for old, new in [*changes[:3], ("\nSEED = 1  # of all", "\nSEED = 1  # of each"), ("each draws", "each draw")]:
        texts[NIN] = texts[NIN].replace(old, new)
    for old, new in [*changes[:2], ("of each layer", "of the layers")]:
        texts[WIDE] = texts[WIDE].replace(old, new)
    true = TRUE.replace("9 lines", "10 lines")
    assert copies("--fix") == [f"{NIN}: rewritten", f"{WIDE}: rewritten", true]
    assert {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.glob("*/*")} == texts
    assert [(tmp_path / script).stat().st_mode & 0o111 for script in (NIN, WIDE)] == [0o111, 0]
    assert copies() == copies("--fix") == [true]  # the second time there is nothing to rewrite


def test_fix_leaves_and_reports_what_it_cannot_mend(tree, copies, tmp_path):
    texts = tree(
        (NIN, "sys.exit(2)", "sys.exit(3)"),
        (NIN, "layers with weights", "layers with weights: 6n + 2"),
        (NIN, "x = x * 2", "x = x * 3"),
        (WIDE, "sys.exit(2)", "sys.exit(3)"),
        (WIDE, "# Network\n", ""),  # without its sections a script is left alone
    )
    lines = copies("--fix", status=1)
    texts[NIN] = texts[NIN].replace("sys.exit(3)", "sys.exit(2)")
    assert {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.glob("*/*")} == texts
    left = [
        (NIN, "# Differs", NOT_DIFFERENT),
        (WIDE, 1, SECTIONS),
        (NIN, "    def convolution", f"convolution {NOT_AS}"),
    ]
    assert lines == [f"{NIN}: rewritten", *placed(left, tmp_path)]


def test_bad_input_is_refused(refused, tree, tmp_path):
    assert f"has no {HOME}; give the root" in refused("tools/copies.py", tmp_path)
    assert f"has no {HOME}; give the root" in refused("tools/copies.py", tmp_path / "gone")
    assert "unrecognized arguments: --mend" in refused("tools/copies.py", "--mend")
    texts = tree((WIDE, "sys.exit(2)", "sys.exit(3)"))
    for content in (b"def f(:\n", b"\xff\xfe", b"x = 1\0"):
        (tmp_path / NIN).write_bytes(content)
        assert f"{NIN} cannot be read as Python: " in refused("tools/copies.py", tmp_path, "--fix")
    (tmp_path / NIN).unlink()
    (tmp_path / NIN).mkdir()
    assert f"{NIN} is a folder; give a file" in refused("tools/copies.py", tmp_path, "--fix")
    assert (tmp_path / WIDE).read_text() == texts[WIDE]  # all scripts are read before one is rewritten


def test_the_scripts_of_this_repository_are_true(run):
    assert run("tools/copies.py").stdout.endswith(": all true\n")


TRAIN = "def train(steps):\n    for step in steps:\n        print(step)\n\n    return steps\n\n\n"
TRANSFER = "transfer/transfer.py"
MAIN = 'if __name__ == "__main__":'


@pytest.fixture
def with_exception(tree, tmp_path):
    """Write TREE with `train` in the block of each, and transfer.py with its own above the line; return its path."""
    texts = tree(*((script, MAIN, TRAIN + MAIN) for script in (HOME, NIN, WIDE)))
    docstring, imports = '"""The exception."""\n\n', IMPORTS.replace("from", f"{copies_tool.ITS_IMPORT}from", 1)
    own = "# Network\n" + TRAIN.replace("print(step)", "print(-step)")
    block = texts[HOME][texts[HOME].index(f"\n{LINE}") + 1 :].replace(TRAIN, "")
    path = tmp_path / TRANSFER
    path.parent.mkdir()
    path.write_text(f'{docstring}{imports}# Settings\nDATA = "photos"  # where the images come from\n\n\n{own}{block}')
    return path


TRUE_WITH_EXCEPTION = TRUE.replace("3 scripts", "4 scripts").replace("9 lines", "16 lines")


def test_the_exception_has_a_train_of_its_own(with_exception, copies):
    assert copies() == [TRUE_WITH_EXCEPTION]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    sys.exit(2)\n", "    sys.exit(3)\n", BLOCK_DIFFERS),
        (MAIN, TRAIN + MAIN, BLOCK_DIFFERS),  # one in the block too
        (copies_tool.ITS_IMPORT, "", IMPORTS_DIFFER),
        (copies_tool.ITS_IMPORT, f"{copies_tool.ITS_IMPORT}import os\n", IMPORTS_DIFFER),
    ],
)
def test_the_exception_is_alike_in_all_else(with_exception, copies, old, new, said):
    true = with_exception.read_text()
    assert true.count(old) == 1
    with_exception.write_text(true.replace(old, new))
    (line,) = copies(status=1)
    assert line.startswith(f"{TRANSFER}:") and said in line
    assert copies("--fix") == [f"{TRANSFER}: rewritten", TRUE_WITH_EXCEPTION]
    assert with_exception.read_text() == true
