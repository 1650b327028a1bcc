"""Compares what Redis's Tcl tests said with what they say of Redis itself.

    compare.py compare --logs LOGS --expected LIST ... UNIT ...
    compare.py print   --logs LOGS --expected LIST ... UNIT ...
    compare.py failed  --logs LOGS --expected LIST ... UNIT ...
    compare.py not-run --expected LIST ... UNIT
    compare.py record  --logs LOGS UNIT ...

LOGS holds the output of each unit. redis-passes.txt has the tests that Debian's redis-server passes
in the same mode, a LIST those that are expected to fail; --expected may be given several times, and
no two lists have the same test. Lines are `unit: test`; in a LIST every line belongs to the cause in
the comment above it.

`compare` fails when a test fails that isn't listed, and when one passes that is: a list only
shrinks. Where the cause begins with "Not run:", the tests, or with `unit: *` the whole unit, are
left out, because they would stop or spoil what comes after them, and count as failed; `not-run`
prints their names. `print` prints every failure with what was said, in the form of a LIST; `failed`
the units in which a test failed that isn't listed. `record` writes redis-passes.txt anew.
"""

import argparse
import collections
import pathlib
import re
import sys

BASELINE = pathlib.Path(__file__).with_name("redis-passes.txt")
SAID = re.compile(r"^\[(ok|err)\]: (.*)$")


def outcome(log):
    """How often each test of a unit passed, and what was said when it failed."""
    passed, failed = collections.Counter(), {}
    if not log.exists():
        return passed, failed
    lines = log.read_text(errors="replace").split("\nThe End")[0].splitlines()
    for at, line in enumerate(lines):
        match = SAID.match(line)
        if match and match[1] == "ok":
            passed[re.sub(r" \(\d+ ms\)$", "", match[2]).strip()] += 1
        elif match:
            name = re.sub(r" in tests/unit/\S+\.tcl$", "", match[2]).strip()
            failed[name] = " ".join(lines[at + 1 : at + 3])
        elif line.startswith("[TIMEOUT]") and at + 1 < len(lines):
            name = lines[at + 1].split("(IN PROGRESS) ")[-1].strip()
            failed[name] = "it never answered"
    return passed, failed


def listed(paths):
    """The lines of the lists, each with the cause above it."""
    entries = {}
    for path in paths:
        cause, fresh = [], True
        for line in path.read_text().splitlines():
            if line.startswith("#"):
                cause = [line[1:].strip()] if fresh else cause + [line[1:].strip()]
            elif line.strip():
                unit, name = line.split(": ", 1)
                if (unit, name) in entries:
                    sys.exit(f"tcl: {path.name} has what was listed before: {line}")
                entries[unit, name] = " ".join(cause)
            fresh = not line.startswith("#")
    return entries


def record(said):
    lines = []
    for unit, (passed, failed) in sorted(said.items()):
        for name, times in sorted(passed.items()):
            if name not in failed:
                lines.append(f"{unit}: {name}" + (f" [{times} times]" if times > 1 else ""))
    BASELINE.write_text("\n".join(lines) + "\n")
    print(f"tcl: {sum(sum(p.values()) for p, _ in said.values())} passed")


def tests(said, expected):
    """Each test that Redis passes, of the units that were run: how often it is made, how often it
    passed, why it failed if it did, and the cause if that was expected."""
    for line in BASELINE.read_text().splitlines():
        unit, name = line.split(": ", 1)
        if unit not in said:
            continue
        match = re.fullmatch(r"(.*) \[(\d+) times\]", name)
        name, times = (match[1], int(match[2])) if match else (name, 1)
        passed, failed = said[unit]
        is_passed = passed[name] >= times and name not in failed
        why = None if is_passed else failed.get(name, "it wasn't reached")
        cause = expected.get((unit, name)) or expected.get((unit, "*"))
        yield unit, name, times, min(times, passed[name]), why, cause


def compare(said, expected, is_printing):
    """Prints what is to be known; true where all is as expected."""
    known, total, reached, new, gone = set(), 0, 0, [], []
    causes = collections.Counter()
    for unit, name, times, passed, why, cause in tests(said, expected):
        known.add((unit, name))
        total += times
        reached += passed
        if cause:
            causes[cause] += 1
        if why and (is_printing or not cause):
            new.append((unit, name, why))
        elif not why and cause:
            gone.append((unit, name))
    unknown = [e for e in expected if e[0] in said and e[1] != "*" and e not in known]

    print("\ntcl: expected failures by cause")
    for cause, count in causes.most_common():
        print(f"{count:5d}  {cause}")
    print()
    for unit, name, why in new:
        print(f"{unit}: {name}\n    {why[:300]}")
    for unit, name in gone:
        print(f"tcl: it passes now; take it off the list: {unit}: {name}")
    for unit, name in unknown:
        print(f"tcl: Redis has no such test; take it off the list: {unit}: {name}")
    print(
        f"tcl: {reached} passed of the {total} that Redis passes, {100 * reached / max(total, 1):.1f} %;"
        f" {len(new)} failed that are not expected, {len(gone)} passed that are"
    )
    return not (new or gone or unknown)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["compare", "print", "failed", "not-run", "record"])
    parser.add_argument("--logs", type=pathlib.Path)
    parser.add_argument("--expected", type=pathlib.Path, action="append", default=[])
    parser.add_argument("units", nargs="+")
    given = parser.parse_args()
    expected = listed(given.expected)
    if given.what == "not-run":
        for (unit, name), cause in expected.items():
            if unit in given.units and cause.startswith("Not run:"):
                print(name)
        return

    said = {u: outcome(given.logs / (u.replace("/", "_") + ".tcl")) for u in given.units}
    if given.what == "record":
        record(said)
    elif given.what == "failed":
        made = tests(said, expected)
        for unit in dict.fromkeys(unit for unit, *_, why, cause in made if why and not cause):
            print(unit)
    elif not compare(said, expected, given.what == "print"):
        sys.exit(1)


main()
