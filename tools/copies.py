"""Keep what the scripts copy from each other true.

    python tools/copies.py           # check the repository that this tool stands in
    python tools/copies.py --fix     # first rewrite marked copies, and settings' comments, from their home
    python tools/copies.py FOLDER    # the same for another tree

The training scripts, in folders such as 4.ResNet, import nothing from the repository, so that each can be read
and run alone: what they share is copied. ensemble, htd, tools and benchmarks hold ordinary programs.

Every top-level function, class or constant has one home, which is unmarked. Where it stands again, a line
directly above it says so; above constants, the mark holds for all that follow without a gap:

    # Copied from 4.ResNet/resnet.py             exactly the same text, comments and docstring included
    # Differs from 4.ResNet/resnet.py: reason    a variant, and why

A copy is of a home or of a variant, never of a copy; a variant is always of a home. Nothing else may stand
twice: no name, and no body of three lines or more under whatever name. Free are an ordinary program's `main`,
and names that the ordinary programs share with each other or with a setting, while their bodies differ.
Imports, the main guard, names such as __all__ and what stands inside a function or class are not looked at.

Settings, the constants under `# Settings` in a training script up to the next comment line or definition, may
differ in value. Their trailing comments, which are the --help and the rule for what is allowed, may not: a
setting's home is 4.ResNet/resnet.py, or else the first script that has it. Above a setting a mark holds for
that one alone: Copied asks for the same value too, Differs allows another comment.

If all is true, prints one line and exits with status 0; if not, one line a fault and status 1. Bad usage, or a
script that cannot be read, is one line and status 2.
"""

import argparse
import ast
import io
import re
import shutil
import sys
import tokenize
from dataclasses import dataclass
from pathlib import Path

from common import refuse, written_whole

HOME = "4.ResNet/resnet.py"
PROGRAM_FOLDERS = ("ensemble", "htd", "tools", "benchmarks")
MARK = re.compile(r"# (Copied|Differs) from (\S+\.py)(.*)")


@dataclass
class Mark:
    kind: str  # Copied or Differs
    source: str  # the script it names, from the root
    rest: str  # what follows the script's name: for a variant, a colon and the reason


@dataclass
class Definition:
    """A top-level function, class or constant. Lines count from 1, columns from 0."""

    script: str  # from the root
    name: str
    first: int
    last: int
    text: str
    body: str  # its syntax tree, to compare; empty if it has fewer than three lines
    comment: tuple  # of a constant: line, column and text
    is_setting: bool
    mark: Mark | None

    def __str__(self):
        return f"{self.script}:{self.first}"

    @property
    def ruled(self):
        """What a home rules without asking for a copy: of a setting the comment, of all else the whole text."""
        return self.comment[2] if self.is_setting else self.text


def is_program(script):
    return script.split("/")[0] in PROGRAM_FOLDERS


def find_scripts(root):
    """Return the scripts' paths from the root, homes first: HOME, the networks by number, programs."""

    def order(script):
        number = re.match(r"\d+", script)
        return script != HOME, is_program(script), int(number[0]) if number else float("inf"), script

    folders = [*root.glob("[0-9]*.*"), *(root / name for name in PROGRAM_FOLDERS)]
    scripts = [path.relative_to(root).as_posix() for folder in folders for path in folder.rglob("*.py")]
    return sorted(scripts, key=order)


def defined_names(node):
    """Return the names that a top-level statement defines, without imports and names such as __all__."""
    names = []
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        names = [node.name]
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        parts = [part for target in targets for part in ast.walk(target)]
        names = [part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]
    return [name for name in names if not (name.startswith("__") and name.endswith("__"))]


def body_to_compare(node):
    """Return the syntax tree of what is defined, without name and docstring; "" if shorter than three lines."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        body = [node.value] if node.value else []
    else:
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body or body[-1].end_lineno - body[0].lineno + 1 < 3:
        return ""
    return "\n".join(ast.dump(part) for part in body)


def read_script(root, script):
    """Return the script's definitions, and the lines of marks that stand above none; or fail naming it."""
    try:
        source = (root / script).read_text(encoding="utf-8")
        tree = ast.parse(source)
    except (SyntaxError, ValueError) as error:
        refuse(f"{script} cannot be read as Python: {' '.join(str(error).split())}")
    lines = source.split("\n")
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0]: token for token in tokens if token.type == tokenize.COMMENT}
    marks, sections = {}, {}  # by line, the comments that stand alone on theirs
    for line, token in comments.items():
        if lines[line - 1].lstrip() == token.string:
            if match := MARK.fullmatch(token.string.rstrip()):
                marks[line] = Mark(*match.groups())
            else:
                sections[line] = token.string.rstrip()

    definitions = []
    in_settings, before, mark, read = False, None, None, 0  # before: the last line of a constant, no setting, just read
    for node in tree.body:
        names = defined_names(node)
        is_constant = bool(names) and isinstance(node, ast.Assign | ast.AnnAssign)
        first = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        for line in range(read + 1, first):
            if line in sections:
                in_settings = sections[line] == "# Settings" and not is_program(script)
        in_settings = in_settings and is_constant and all(name.isupper() for name in names)
        if not (is_constant and before == first - 1):  # else it is under the same mark
            mark = marks.pop(first - 1, None) if names else None
        inside = [comments[line] for line in range(first, node.end_lineno + 1) if line in comments]
        end_of_line = (node.end_lineno, len(lines[node.end_lineno - 1]), "")
        for name in names:
            definition = Definition(
                script=script,
                name=name,
                first=first,
                last=node.end_lineno,
                text="\n".join(lines[first - 1 : node.end_lineno]),
                body=body_to_compare(node) if name == names[0] else "",
                comment=(*inside[-1].start, inside[-1].string) if inside else end_of_line,
                is_setting=in_settings,
                mark=mark,
            )
            definitions.append(definition)
        read, before = node.end_lineno, node.end_lineno if is_constant and not in_settings else None
    return definitions, list(marks)


def fault_of_mark(definition, source, home):
    """Return what is wrong with a definition's mark, or None; source is what it names, home the unmarked one."""
    name, mark = definition.name, definition.mark
    variant = f"'# Differs from {mark.source}: reason'"
    if mark.kind == "Copied" and mark.rest:
        return f"the mark of {name} goes on after .py: take '{mark.rest.strip()}' away, or write {variant}"
    if mark.kind == "Differs" and not re.match(r": +\S", mark.rest):
        return f"{name} is a variant without a reason: write {variant}"
    if source is None:
        at_home = f"its home, {home.script}" if home else "a script that has it"
        return f"{name} is not in {mark.source}: name {at_home}, or take the mark away"
    if source.mark and (source.mark.kind == "Copied" or mark.kind == "Differs"):
        mend = f"name its home, {home.script}" if home else "take away the mark above its home"
        return f"{name} in {mark.source} is itself marked: {mend}"
    if mark.kind == "Differs" and definition.ruled == source.ruled:
        mend = "take the mark away" if definition.is_setting else f"mark it '# Copied from {mark.source}'"
        return f"{name} does not differ from {source}: {mend}"
    return None


def check(scripts, root):
    """Return (definitions, faults, repairs): [(script, line, text)], and [(definition, source)] for --fix."""
    definitions, faults, repairs = [], [], []
    for script in scripts:
        found, stray_marks = read_script(root, script)
        definitions += found
        mend = "put it directly above one, or take it away"
        faults += [(script, line, f"no top-level definition under this mark: {mend}") for line in stray_marks]
    places = {(definition.script, definition.name): definition for definition in definitions}
    homes = {}
    for definition in definitions:
        if not definition.mark:
            homes.setdefault(definition.name, definition)

    def report(definition, text):
        faults.append((definition.script, definition.first, text))

    for definition in definitions:
        name, mark, home = definition.name, definition.mark, homes.get(definition.name)
        in_program = is_program(definition.script)
        if mark:
            source = places.get((mark.source, name))
            if text := fault_of_mark(definition, source, home):
                report(definition, text)
            elif mark.kind == "Copied" and definition.text != source.text:
                mend = f"run copies.py --fix, or mark it '# Differs from {mark.source}: reason'"
                report(definition, f"{name} is not as in {source}: {mend}")
                repairs.append((definition, source))
        elif definition.is_setting and home.is_setting:
            if definition.ruled != home.ruled:
                mend = f"run copies.py --fix, or put '# Differs from {home.script}: reason' above it"
                report(definition, f"{name} has another comment than in {home}: {mend}")
                repairs.append((definition, home))
        elif in_program and (is_program(home.script) or home.is_setting or name == "main"):
            pass  # a free name
        elif definition is not home:
            marks = f"'# Copied from {home.script}' or '# Differs from {home.script}: reason'"
            report(definition, f"{name} also stands in {home}: mark it {marks}, or rename it")

    at_fault = {(script, line) for script, line, _ in faults}
    same_body = {}
    for definition in definitions:
        source = definition.mark and places.get((definition.mark.source, definition.name))
        is_stated = source and source.body == definition.body  # a copy, or a variant in its head or docstring
        if definition.body and not definition.is_setting and not is_stated:
            same_body.setdefault(definition.body, []).append(definition)
    for home, *others in same_body.values():
        for definition in others:
            if (definition.script, definition.first) not in at_fault:
                mend = f"give both one name and mark this one '# Copied from {home.script}', or import it"
                report(definition, f"{definition.name} has the body of {home.name} in {home}: {mend}")
    return definitions, faults, repairs


def repair(root, script, repairs):
    """Rewrite definitions of a script from their sources, copies whole and settings in their comment only."""
    path = root / script
    lines = path.read_text(encoding="utf-8").split("\n")
    by_line = {definition.first: (definition, source) for definition, source in repairs}
    for _, (definition, source) in sorted(by_line.items(), reverse=True):  # the lines above stay where they are
        if definition.mark:
            lines[definition.first - 1 : definition.last] = source.text.split("\n")
        else:
            line, column, _ = definition.comment
            lines[line - 1] = f"{lines[line - 1][:column].rstrip()}  {source.ruled}".rstrip()
        part = "" if definition.mark else "comment of "
        print(f"{definition}: {part}{definition.name} rewritten from {source}")
    with written_whole(path) as beside:
        beside.write_text("\n".join(lines), encoding="utf-8")
        shutil.copymode(path, beside)


def main():
    parser = argparse.ArgumentParser(description="Check that what stands twice is a true, marked copy.")
    parser.error = refuse
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("root", nargs="?", type=Path, default=here, help="default: the repository of this tool")
    parser.add_argument("--fix", action="store_true", help="rewrite copies, and settings' comments, from home")
    options = parser.parse_args()
    scripts = find_scripts(options.root)
    if not scripts:
        refuse(f"{options.root} has no scripts in folders such as 4.ResNet; give the root of the collection")

    definitions, faults, repairs = check(scripts, options.root)
    for _ in range(2 if options.fix else 0):  # twice: a copy of a setting may follow its new comment
        for script in dict.fromkeys(definition.script for definition, _ in repairs):
            repair(options.root, script, [pair for pair in repairs if pair[0].script == script])
        definitions, faults, repairs = check(scripts, options.root)
    for script, line, text in sorted(faults, key=lambda fault: (scripts.index(fault[0]), fault[1])):
        print(f"{script}:{line}: {text}")
    if faults:
        sys.exit(1)
    copies = [(item.mark.source, item.name) for item in definitions if item.mark and item.mark.kind == "Copied"]
    print(f"{len(copies)} copies of {len(set(copies))} definitions in {len(scripts)} scripts: all true")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        refuse(f"{error.filename} cannot be read or written: {error.strerror}")
