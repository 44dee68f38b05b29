#!/usr/bin/env bash
# The whole suite as other machines would run it, one run after the other:  scripts/test_elsewhere.sh [RUN ...]
#
#   sse, avx2    the processor's newer instructions are left unused, so that sums are rounded otherwise
#   threads      two threads for each test
#   oldest       the oldest versions that the package's requirements admit (scripts/setup_versions.sh)
#   newest       the newest ones
#
# Prints the last line of each run; whole logs are in .elsewhere/. Ends with 1 if any test failed.
set -uo pipefail
python=.venv/bin/python
mkdir -p .elsewhere
failed=0

suite() { # NAME PYTHON [VARIABLE=VALUE ...]
  local name=$1 interpreter=$2
  shift 2
  env "$@" "$interpreter" -m pytest --timeout 900 >".elsewhere/$name.log" 2>&1 || failed=1
  echo "$name: $(tail -n 1 ".elsewhere/$name.log")"
  grep '^FAILED' ".elsewhere/$name.log"
}

for run in "${@:-sse avx2 threads oldest newest}"; do
  for name in $run; do
    case $name in
      sse) suite sse "$python" ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 ;;
      avx2) suite avx2 "$python" ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 ;;
      threads) suite threads "$python" OMP_NUM_THREADS=2 ;;
      oldest | newest)
        bash scripts/setup_versions.sh "$name" ".elsewhere/$name" && suite "$name" ".elsewhere/$name/bin/python" || failed=1
        ;;
      *) echo "unknown run $name: sse, avx2, threads, oldest, newest" >&2; exit 2 ;;
    esac
  done
done
exit $failed
