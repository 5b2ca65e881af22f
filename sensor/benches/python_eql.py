#!/usr/bin/env python3
"""Compares `detect` with the engine of PyPI's `eql` package, on the same rules and the same decoded events.

    python3 sensor/benches/python_eql.py [RULES]

Both run the built-in rules, 60 rules of the size of Elastic's, and the rules in the directory RULES. The package is installed into
a virtual environment below target/, and only run: it is a separate program under the AGPL, and nothing here is linked with it.

The numbers of matches differ: to that engine, `not` of a condition on a missing field is not true; to Elasticsearch it is.
"""

import os
import pathlib
import re
import subprocess
import sys
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = ROOT / "target" / "bench"
PACKAGE = "eql==0.9.19"

# Runs in the virtual environment: prints how many rules were taken, how many events matched, and the best processor time in seconds.
ENGINE = r'''
import json, pathlib, sys, time, tomllib
import eql
from eql.engine import PythonEngine
from eql.parser import parse_query, elasticsearch_syntax, ignore_missing_functions

def simple(value):
    # It fails on arrays where it expects a text, so it gets the element of those that have one.
    if isinstance(value, dict):
        return {key: simple(below) for key, below in value.items()}
    return value[0] if isinstance(value, list) and len(value) == 1 else value

events_file, directory = sys.argv[1:]
with open(events_file, "rb") as lines:
    events = [eql.Event("file", 0, simple(json.loads(line))) for line in lines]

taken, matched = 0, 0

def count(_):
    global matched
    matched += 1

engine = PythonEngine()
for path in sorted(pathlib.Path(directory).rglob("*.toml")):
    rule = tomllib.loads(path.read_text())["rule"]
    if rule.get("type") != "eql" or not rule["query"].split(None, 1)[0] in ("file", "any"):
        continue
    with elasticsearch_syntax, ignore_missing_functions:
        query = parse_query(rule["query"])
    engine.add_query(query)
    taken += 1
engine.add_output_hook(count)

best = float("inf")
for _ in range(3):
    matched = 0
    start = time.process_time()
    engine.stream_events(events, finalize=False)
    best = min(best, time.process_time() - start)
print(taken, len(events), matched, best)
'''


def main():
    environment = TARGET / "python-eql"
    python = environment / "bin" / "python"
    if not python.exists():
        TARGET.mkdir(parents=True, exist_ok=True)
        venv.create(environment, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PACKAGE], check=True)

    directories = {"builtin": ROOT / "rules", "generated": None}
    variables = {}
    if len(sys.argv) > 1:
        directories["given"] = pathlib.Path(sys.argv[1]).resolve()
        variables["LDSENTRY_BENCH_RULES"] = str(directories["given"])
    ours = subprocess.run(
        ["cargo", "bench", "--quiet", "--package", "sensor", "--bench", "throughput"],
        cwd=ROOT,
        env={**os.environ, **variables},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    print(ours)
    written = pathlib.Path(ours.splitlines()[0])
    directories["generated"] = written / "rules"

    print("python eql   rules     events/s    matches   detect is faster by")
    for name, directory in directories.items():
        rules, rate = re.search(rf"^{name} +(\d+) +(\d+)", ours, re.MULTILINE).groups()
        theirs = subprocess.run(
            [python, "-I", "-c", ENGINE, written / "events.ndjson", directory],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout
        taken, count, matched, seconds = theirs.split()
        python_rate = int(count) / float(seconds)
        print(f"{name:<12} {taken:>5} {python_rate:>12.0f} {matched:>10}   {int(rate) / python_rate:.1f}")
        if taken != rules:
            print(f"  the two did not take the same rules: {rules} here, {taken} there")


if __name__ == "__main__":
    main()
