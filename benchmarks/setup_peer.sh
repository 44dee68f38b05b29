#!/usr/bin/env bash
# Make the peer's own virtual environment:  benchmarks/setup_peer.sh [VENV] [--vision]
#
# TRL never meets the product's environment. torch comes first and pinned, because an unguided resolver may choose
# gigabytes of CUDA for a machine without a GPU. With --vision torchvision goes, without its dependencies, into the
# folder VENV-vision beside the environment: only lane N of the InternVL and Qwen2.5-VL shapes puts that folder on its
# path (benchmarks/peer_equality.py --vision); nothing that is timed ever sees it. Running the script again is harmless.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=.bench/peer
vision=no
for argument in "$@"; do
  if [ "$argument" = --vision ]; then vision=yes; else venv=$argument; fi
done
python=${PYTHON:-python3}
constraints=benchmarks/peer-constraints.txt

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check install --quiet "$@"; }

if ! "$venv/bin/python" -c 'import torch' >/dev/null 2>&1; then
  version=$(sed -n 's/^torch==//p' "$constraints")
  pip "torch==$version+cpu" 2>/dev/null || pip "torch==$version"
fi
pip -c "$constraints" trl transformers accelerate datasets pillow scikit-learn safetensors
if [ "$vision" = yes ] && [ ! -d "$venv-vision/torchvision" ]; then
  pip --no-deps --target "$venv-vision" "$(sed -n 's/^# vision: //p' "$constraints")"
fi
"$venv/bin/python" -c 'import torch, transformers, trl; print("trl", trl.__version__, "transformers", transformers.__version__, "torch", torch.__version__)'
