"""Compares what Redis's Tcl tests said with what they say of Redis itself.

    compare.py LOGS LISTS [--record | --print] -- UNIT ...
    compare.py --not-run LISTS UNIT
    compare.py --failed LOGS LISTS UNIT ...

LOGS holds the output of each unit. LISTS holds redis-passes.txt (the tests that Debian's
redis-server passes in the same mode) and expected-failures.txt. Lines are `unit: test`; in the
second list every line belongs to the cause in the comment above it. Where the cause begins with
"Not run:", the tests, or with `unit: *` the whole unit, are left out, because they would stop
what comes after them; the second form prints the names. They count as failed. Fails when a test
fails that isn't listed, and when one passes that is: the list only shrinks. --print prints every
failure with what was said, in the form of the list. The third form prints the units in which a
test failed that isn't listed.
"""

import collections
import pathlib
import re
import sys

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


def listed(path):
    """The lines of a list, each with the cause above it."""
    entries, cause, fresh = {}, [], True
    for line in path.read_text().splitlines():
        if line.startswith("#"):
            cause = [line[1:].strip()] if fresh else cause + [line[1:].strip()]
            fresh = False
        elif line.strip():
            fresh = True
            unit, name = line.split(": ", 1)
            if (unit, name) in entries:
                sys.exit(f"tcl: {path.name} names it twice: {line}")
            entries[unit, name] = " ".join(cause)
    return entries


def record(path, said):
    lines = []
    for unit, (passed, failed) in sorted(said.items()):
        for name, times in sorted(passed.items()):
            if name not in failed:
                lines.append(f"{unit}: {name}" + (f" [{times} times]" if times > 1 else ""))
    path.write_text("\n".join(lines) + "\n")
    print(f"tcl: {sum(sum(p.values()) for p, _ in said.values())} passed")


def not_run(lists, unit):
    for (of, name), cause in listed(lists / "expected-failures.txt").items():
        if of == unit and cause.startswith("Not run:"):
            print(name)


def tests(baseline, said, expected):
    """Each test that Redis passes, of the units that were run: how often it is made, how often it
    passed, why it failed if it did, and whether that was expected."""
    for line in baseline.read_text().splitlines():
        unit, name = line.split(": ", 1)
        if unit not in said:
            continue
        match = re.fullmatch(r"(.*) \[(\d+) times\]", name)
        name, times = (match[1], int(match[2])) if match else (name, 1)
        passed, failed = said[unit]
        is_passed = passed[name] >= times and name not in failed
        why = None if is_passed else failed.get(name, "it wasn't reached")
        is_expected = (unit, name) in expected or (unit, "*") in expected
        yield unit, name, times, min(times, passed[name]), why, is_expected


def main():
    if sys.argv[1] == "--not-run":
        return not_run(pathlib.Path(sys.argv[2]), sys.argv[3])
    only_failed = sys.argv[1] == "--failed"
    logs, lists = map(pathlib.Path, sys.argv[2:4] if only_failed else sys.argv[1:3])
    split = 3 if only_failed else sys.argv.index("--")
    options, units = sys.argv[3:split], sys.argv[split + 1 :]
    said = {unit: outcome(logs / (unit.replace("/", "_") + ".tcl")) for unit in units}
    baseline = lists / "redis-passes.txt"
    if "--record" in options:
        return record(baseline, said)

    expected = listed(lists / "expected-failures.txt")
    if only_failed:
        made = tests(baseline, said, expected)
        for unit in dict.fromkeys(unit for unit, *_, why, ok in made if why and not ok):
            print(unit)
        return None
    known, total, reached, new, gone = set(), 0, 0, [], []
    for unit, name, times, passed, why, is_expected in tests(baseline, said, expected):
        known.add((unit, name))
        total += times
        reached += passed
        if why and ("--print" in options or not is_expected):
            new.append((unit, name, why))
        elif not why and is_expected:
            gone.append((unit, name))
    unknown = [e for e in expected if e[0] in said and e[1] != "*" and e not in known]

    for unit, name, why in new:
        print(f"{unit}: {name}\n    {why[:300]}")
    causes = collections.Counter(
        cause
        for line in baseline.read_text().splitlines()
        for unit, name in [re.sub(r" \[\d+ times\]$", "", line).split(": ", 1)]
        if unit in said
        for cause in [expected.get((unit, name)) or expected.get((unit, "*"))]
        if cause
    )
    print("\ntcl: expected failures by cause")
    for cause, count in causes.most_common():
        print(f"{count:5d}  {cause}")
    for unit, name in gone:
        print(f"tcl: it passes now; take it off the list: {unit}: {name}")
    for unit, name in unknown:
        print(f"tcl: Redis has no such test; take it off the list: {unit}: {name}")
    print(
        f"\ntcl: {reached} passed of the {total} that Redis passes, {100 * reached / max(total, 1):.1f} %;"
        f" {len(new)} failed that are not expected, {len(gone)} passed that are"
    )
    if new or gone or unknown:
        sys.exit(1)


main()
