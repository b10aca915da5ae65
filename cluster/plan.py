"""From a table of members to runs; what a script would refuse is refused here, before any training."""

import csv
import io
import json
import re
import shlex
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from cluster.runs import Run
from ensemble.common.checks import check_file
from ensemble.common.command import RefusedError, refuse
from ensemble.common.schemas import MOST_BYTES
from ensemble.common.scripts import read_script, settings_of

COLUMNS = ["script", "run", "settings"]


def read_members(path):
    """Return the runs of a CSV file with the columns script, run and settings; refuse a bad line by its number.

    script: a path from the current folder or the top folder of the repository; run: the name of its folder in runs/;
    settings: more of the script's command line, such as --depth 20 --seed 1, quoted as for a shell.
    """
    scripts, runs, lines = {}, [], {}
    for number, (script, run, settings) in read_rows(path):
        where = f"{path}, line {number}"
        if not run:
            refuse(f"{where} has no run, the name of the run's folder in runs/")
        if run in lines:
            refuse(f"{where} has the run {run}, as line {lines[run]} has; give it another name")
        lines[run] = number
        try:
            arguments = shlex.split(settings)
        except ValueError as error:
            refuse(f"{where}: the settings {settings!r} cannot be read: {error}")
        if any(argument.split("=")[0] == "--run" for argument in arguments):
            refuse(f"{where}: --run is what the column run is for; leave it out of the settings")
        with refused_as_line(where):
            if script not in scripts:
                scripts[script] = read_script(script)
            runs.append(new_run(scripts[script], [*arguments, f"--run={run}"]))
    return runs


def read_rows(path):
    """Yield the number of each line of a CSV file and its script, run and settings."""
    check_file(path, MOST_BYTES)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        rows = csv.reader(io.StringIO(text), strict=True)
        table = [(rows.line_num, row) for row in rows if any(field.strip() for field in row)]
    except OSError as error:
        refuse(f"{path} cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        refuse(f"{path} is no text in UTF-8")
    except csv.Error as error:
        refuse(f"{path}, line {rows.line_num}: {error}")
    header = [name.strip() for name in table[0][1]] if table else []
    if sorted(header) != sorted(COLUMNS):
        refuse(f"{path} begins with {','.join(header)!r}; its first line must be {','.join(COLUMNS)}")
    if len(table) == 1:
        refuse(f"{path} has no runs: a line for each must follow the first")
    for number, row in table[1:]:
        if len(row) != len(COLUMNS):
            mend = "settings with a comma need double quotes around them"
            refuse(f"{path}, line {number} has {len(row)} fields, not {len(COLUMNS)}; {mend}")
        fields = dict(zip(header, row, strict=True))
        yield number, [fields[name].strip() for name in COLUMNS]


def new_run(script, arguments):
    """Return the run of a script, a module, with these arguments; leave the module's settings as they were."""
    before = dict(vars(script))
    try:
        settings, folder = settings_of(script, arguments)
    finally:
        vars(script).update(before)
    return Run(Path(script.__file__), folder, arguments, json.loads(json.dumps(settings)))


@contextmanager
def refused_as_line(where):
    """Have what is refused within refused as one line that begins with `where`."""
    words = io.StringIO()
    try:
        with redirect_stdout(words), redirect_stderr(words):
            yield
    except SystemExit as end:
        if end.code == 0:  # argparse's, after its help
            refuse(f"{where}: --help is no setting")
        line = words.getvalue().strip().splitlines()[-1]
        refuse(f"{where}: {re.sub(r'^[^ ]+: (error: )?', '', line)}")
    except RefusedError as error:
        refuse(f"{where}: {error}")
