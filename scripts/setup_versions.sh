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
"""Each lower bound of pyproject.toml as an exact version where the oldest are asked for; torch is what is there."""
import re
import sys
import tomllib
from importlib.metadata import version

project = tomllib.load(open("pyproject.toml", "rb"))["project"]
wanted = {*project["dependencies"], *project["optional-dependencies"]["dev"]} if sys.argv[1] == "oldest" else set()
for requirement in sorted(wanted):
    name, bound = re.match(r"([\w.-]+)>=([\w.]+)", requirement).groups()
    if name != "torch":
        print(f"{name}=={bound}")
print(f"torch=={version('torch')}")
WRITE
pip --upgrade -c "$constraints" -e ".[dev]"
