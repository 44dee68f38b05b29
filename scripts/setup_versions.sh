#!/usr/bin/env bash
# Make a virtual environment with the oldest or the newest versions that the package's own requirements admit:
#   scripts/setup_versions.sh oldest|newest VENV
#
# torch is the pinned one in both: other versions have no CPU build on every package index.
set -euo pipefail
which=$1
venv=$2
python=${PYTHON:-python3}

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check install --quiet "$@"; }

version=$(sed -n 's/^torch==//p' constraints.txt)
"$venv/bin/python" -c 'import torch' >/dev/null 2>&1 || pip "torch==$version+cpu" 2>/dev/null || pip "torch==$version"
constraints=$venv/constraints.txt
"$venv/bin/python" - "$which" >"$constraints" <<'WRITE'
"""For the oldest: each lower bound of what the package needs as an exact version, and tests with the pinned tools."""
import re
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
pinned = dict(line.split("==") for line in Path("constraints.txt").read_text().split() if "==" in line)
if sys.argv[1] == "oldest":
    for requirement in project["dependencies"]:
        name, bound = re.match(r"([\w.-]+)>=([\w.]+)", requirement).groups()
        if name != "torch":
            print(f"{name}=={bound}")
    for requirement in project["optional-dependencies"]["dev"]:
        name = re.match(r"[\w.-]+", requirement)[0]
        print(f"{name}=={pinned[name]}")
print(f"torch=={version('torch')}")
WRITE
pip --upgrade -c "$constraints" -e ".[dev]"
