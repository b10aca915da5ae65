"""Try faults of every kind on every command, and put what came of it into this folder's README.md.

    python tests/faults/run.py                          # all, an hour on 2 cores
    python tests/faults/run.py --kind 5 --match export  # those of a kind, with a text in their name
    python tests/faults/run.py --quick                  # those of the test suite

Exit status 1 if a case failed. The table keeps the rows of the cases that were not tried now.
"""

import argparse
import re
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where this package stands

from faults import disguised, enormous, fields, handlers, kills, races, streams, words
from faults.harness import try_case

README = Path(__file__).with_name("README.md")
START, END = "<!-- cases -->", "<!-- end of cases -->"
ROW = re.compile(r"\| (\d) \| (.*) \| (.*) \| (.*) \|")
MODULES = (races, kills, handlers, words, fields, enormous, streams, disguised)
SIDE_BY_SIDE = 2  # cases
CASES = [case for module in MODULES for case in module.CASES]


def cell(text):
    """Return a text as it can stand in a table of Markdown."""
    text = text.encode("utf-8", "backslashreplace").decode()
    text = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
    return text.replace("|", "\\|").replace("<", "&lt;")[:400]


def write_table(outcomes):
    """Write the rows of the cases, {(kind, name): (outcome, seconds)}, with those that README.md has of the others."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(START)
    table, after = rest.split(END)
    rows = {(kind, name): (outcome, seconds) for kind, name, outcome, seconds in ROW.findall(table)}
    rows |= {
        (str(kind), cell(name)): (cell(outcome), f"{took:.1f}") for (kind, name), (outcome, took) in outcomes.items()
    }
    known = [(str(case.kind), cell(case.name)) for case in CASES]
    lines = [f"| {kind} | {name} | {' | '.join(rows[kind, name])} |" for kind, name in known if (kind, name) in rows]
    counts = {}
    for kind, name in known:
        if (kind, name) in rows:
            outcome = rows[kind, name][0].split(":")[0]
            counts.setdefault(kind, {}).setdefault(outcome, []).append(float(rows[kind, name][1]))
    summary = ["| Kind | Cases | Passed | Failed | Skipped | Seconds |", "| --: | --: | --: | --: | --: | --: |"]
    for kind, found in sorted(counts.items()):
        numbers = [len(found.get(outcome, [])) for outcome in ("passed", "FAILED", "skipped")]
        summary.append(
            f"| {kind} | {sum(numbers)} | {' | '.join(map(str, numbers))} | {sum(map(sum, found.values())):.0f} |"
        )
    head = ["| Kind | Case | Outcome | Seconds |", "| --: | :-- | :-- | --: |"]
    parts = ["", *summary, "", *head, *lines, ""]
    README.write_text(f"{before}{START}\n{chr(10).join(parts)}\n{END}{after}", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", type=int, choices=range(1, 9), help="cases of one kind")
    parser.add_argument("--match", default="", metavar="TEXT", help="cases with a text in their name")
    parser.add_argument("--quick", action="store_true", help="cases of the test suite")
    options = parser.parse_args()
    chosen = [
        case
        for case in CASES
        if options.kind in (None, case.kind) and options.match in case.name and (case.quick or not options.quick)
    ]
    outcomes, failed = {}, 0
    pool = ThreadPoolExecutor(SIDE_BY_SIDE)
    tried = {pool.submit(try_case, case): case for case in chosen}
    try:
        for number, future in enumerate(as_completed(tried), start=1):
            case, (outcome, took) = tried[future], future.result()
            outcomes[case.kind, case.name] = outcome, took
            failed += outcome.startswith("FAILED")
            print(f"{number} of {len(chosen)}, kind {case.kind}, {took:.1f} s: {case.name!a}: {outcome!a}", flush=True)
    finally:
        pool.shutdown(cancel_futures=True)
        write_table(outcomes)
    print(f"{len(outcomes)} cases, {failed} failed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
