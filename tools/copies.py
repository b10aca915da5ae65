"""Keep what the training scripts share the same text in all of them.

    python tools/copies.py           # check the repository that this tool stands in
    python tools/copies.py --fix     # first rewrite what differs from its home
    python tools/copies.py FOLDER    # the same for another tree

The training scripts, in folders such as 4.ResNet, import nothing from the repository, so that each can be read and run
alone: what they share is copied. 4.ResNet/resnet.py is the home of the imports, of the block below the line

    # From here on as in 4.ResNet/resnet.py

and of the comments of settings (which are their --help); of a setting that it lacks, the first script that has it.
A setting whose comment has to be another, such as DEPTH, has the line `# Differs from 4.ResNet/resnet.py` above it.
The one exception is transfer/transfer.py, which imports ThreadPoolExecutor too, and has a `train` of its own, above the
line instead of below it.
Above the line every script is its own: a function there whose body, of three lines or more, stands in another script
too needs the mark `# As in 6.ResNeXt/resnext.py` directly above it, which names its home.

If all is true, prints one line and exits with status 0; if not, one line a fault and status 1. Bad usage, or a script
that cannot be read, is one line and status 2.
"""

import ast
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.checks import check_file
from ensemble.common.command import new_parser, refuse, run_command, short
from ensemble.common.files import written_whole
from ensemble.common.scripts import ROOT

HOME = "4.ResNet/resnet.py"
LINE = f"# From here on as in {HOME}\n"
EXCEPTION, ITS_IMPORT = "transfer/transfer.py", "from concurrent.futures import ThreadPoolExecutor\n"
SETTING = re.compile(r"^(# Differs from (\S+)\n)?([A-Z_]+) = .+?  (# .+)$", re.MULTILINE)
MARK = re.compile(r" *# As in (\S+)")


def read_scripts(root):
    """Return {path from the root: text} of the training scripts, HOME first, then by number; or refuse."""
    paths = [path.relative_to(root).as_posix() for path in root.glob("[0-9]*.*/*.py")]
    if HOME not in paths:
        refuse(f"{root} has no {HOME}; give the root of the collection")
    paths = sorted(paths, key=lambda path: (path != HOME, int(re.match(r"\d+", path)[0]), path))
    scripts = {}
    for path in paths + [EXCEPTION] * (root / EXCEPTION).is_file():
        check_file(root / path)
        try:
            scripts[path] = (root / path).read_text(encoding="utf-8")
            ast.parse(scripts[path])
        except (SyntaxError, ValueError) as error:
            refuse(f"{path} cannot be read as Python: {short(error)}")
    return scripts


def split(text):
    """Return docstring, imports, settings, network and block of a script, which together are its text; or None."""
    parts = re.fullmatch(
        rf'(""".*?"""\n\n)(.*?\n)(# Settings\n.*?\n)(# Network\n.*?\n)({re.escape(LINE)}.*)', text, re.DOTALL
    )
    once = all(text.count(f"\n{beginning}") == 1 for beginning in ("# Settings\n", "# Network\n", LINE))
    return list(parts.groups()) if parts and once else None


def for_exception(home):
    """Return what EXCEPTION is to have of the home's parts: an import more, and the block without `train`."""
    docstring, imports, settings, network, block = home
    lines = imports.splitlines(keepends=True)
    place = next(i for i, line in enumerate([*lines, "from d"]) if line.startswith("from ") and line > ITS_IMPORT)
    imports = "".join([*lines[:place], ITS_IMPORT, *lines[place:]])
    return docstring, imports, settings, network, re.sub(r"^def train\(.*?(?=^\S)", "", block, flags=re.M | re.S)


def first_difference(part, home, first_line):
    """Return the number in its script of the first line of a part that differs from its home, and both lines."""
    ours, theirs = ([*text.splitlines(keepends=True), "its end"] for text in (part, home))
    number = next(i for i, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1])
    return first_line + number, ours[number], theirs[number]


def functions(text):
    """Yield (name, line, syntax tree of the body, marked home or None) of the functions above the line.

    Nested ones count too; those with a body of fewer than three lines, docstring apart, do not.
    """
    lines = text[: text.index(f"\n{LINE}") + 1].split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.lineno < len(lines):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            mark = MARK.fullmatch(lines[node.lineno - 2])
            if mark or (body and body[-1].end_lineno - body[0].lineno >= 2):
                yield node.name, node.lineno, "\n".join(map(ast.dump, body)), mark and mark[1]


def check(scripts):
    """Return the faults of the scripts, (path, line, text), and {path: text} with what --fix rewrites."""
    faults, mended, comments, bodies = [], dict(scripts), {}, {}
    home = split(scripts[HOME])
    for path, text in scripts.items():
        parts = split(text)
        theirs = for_exception(home) if home and path == EXCEPTION else home
        if not parts:
            order = f"docstring, imports, '# Settings', '# Network' and '{LINE.strip()}', in this order"
            faults.append((path, 1, f"needs {order}, each once"))
        if not (parts and home):
            continue
        starts = ["".join(parts[:number]).count("\n") + 1 for number in range(5)]
        for number, name in ((1, "the imports differ"), (4, "the block differs")):
            if parts[number] != theirs[number]:
                line, our, their = first_difference(parts[number], theirs[number], starts[number])
                faults.append((path, line, f"{name} from {HOME}: {our!r}, where that has {their!r}"))
                parts[number] = theirs[number]
        settings = parts[2]
        for setting in SETTING.finditer(settings):
            marked, other, name, comment = setting.groups()
            source, told = comments.setdefault(name, (path, comment))
            line = starts[2] + settings.count("\n", 0, setting.start())
            if marked and (other != source or comment == told):
                faults.append(
                    (path, line, f"{name} does not differ from {other}, or its home is not that: take it away")
                )
            elif not marked and comment != told:
                faults.append((path, line, f"{name} has another comment than in {source}: {comment} and {told}"))
                parts[2] = parts[2].replace(f"\n{setting[0]}\n", f"\n{setting[0].removesuffix(comment)}{told}\n")
        mended[path] = "".join(parts)
        for name, line, body, mark in functions(text):
            bodies.setdefault(body, []).append((path, line, name, mark))
    for copies in bodies.values():
        homes = [path for path, _, _, mark in copies if not mark]
        for path, line, name, mark in copies:
            if mark and mark not in homes:
                faults.append((path, line, f"{name} is not as in {mark}: make it so, or take the mark away"))
            elif not mark and path != homes[0]:
                faults.append((path, line, f"{name} also stands in {homes[0]}: write '# As in {homes[0]}' above it"))
    return faults, mended


def main():
    parser = new_parser("Check that what the training scripts share is the same text.")
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="default: the repository of this tool")
    parser.add_argument("--fix", action="store_true", help="rewrite blocks, imports and comments from their homes")
    options = parser.parse_args()
    scripts = read_scripts(options.root)
    faults, mended = check(scripts)
    for path in [path for path in scripts if options.fix and mended[path] != scripts[path]]:
        with written_whole(options.root / path) as beside:
            beside.write_text(mended[path], encoding="utf-8")
            shutil.copymode(options.root / path, beside)
        print(f"{path}: rewritten")
    faults = check(mended)[0] if options.fix else faults
    for path, line, text in faults:
        print(f"{path}:{line}: {text}")
    if faults:
        sys.exit(1)
    block = split(scripts[HOME])[4].count("\n")
    print(f"{len(scripts)} scripts share imports, comments of settings and a block of {block} lines: all true")


if __name__ == "__main__":
    run_command(main)
