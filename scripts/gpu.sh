#!/usr/bin/env bash
# Everything one asks of a GPU machine, in one script: correctness first, then measurements; results under $OUT (default: out/).
#   scripts/gpu.sh info | check [quick] | sanitize | kernels | model | matrix [row ...] | peers
# Needs nothing but what `npm run bundle` packs (unpacked in the current folder, or a built checkout).
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${OUT:-$PWD/out}
mkdir -p "$OUT"
library=build/libkernels-cuda.so
if [ -z "${BENCH_CUBLASLT_PATH:-}" ] && command -v python3 >/dev/null; then
  BENCH_CUBLASLT_PATH=$(python3 - <<'PY'
import glob, site, sys
places = site.getsitepackages() + sys.path
for place in places:
    found = glob.glob(place + "/nvidia/*/lib/libcublasLt.so.1[23]")
    if found:
        print(sorted(found)[-1])
        break
PY
  )
  export BENCH_CUBLASLT_PATH
fi

info() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm,power.limit --format=csv
  echo "cublasLt: ${BENCH_CUBLASLT_PATH:-none}"
  ./bench doctor | tee "$OUT/doctor.txt" || true
}
check() { build/check --library "$library" --dtype bf16 ${1:+--quick} --json "$OUT/check.json"; }
sanitize() {
  for tool in memcheck racecheck initcheck synccheck; do
    echo "== compute-sanitizer $tool"
    timeout 240 compute-sanitizer --tool "$tool" --error-exitcode 9 build/check --library "$library" --dtype bf16 --quick >"$OUT/sanitize-$tool.txt" 2>&1
    echo "exit $?"; tail -n 3 "$OUT/sanitize-$tool.txt"
  done
}
kernels() { node dist/kernels/bench.js --json --library cuda --model "${1:-llama-3-8b}" >"$OUT/kernels-${1:-llama-3-8b}.json" && node dist/kernels/bench.js --library cuda --model "${1:-llama-3-8b}"; }

command=${1:-info}
shift || true
"$command" "$@"
