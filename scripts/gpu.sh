#!/usr/bin/env bash
# Everything one asks of a GPU machine, in one script: correctness first, then measurements; results under $OUT (default: out/).
#   scripts/gpu.sh info | check [quick] | sanitize [tool ...] | model [preset] [layers] | answers [preset] | faults [pattern] | kernels [preset] | attention | step [preset]
#                  | matrix row ... | peers
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
check() {
  build/check --library "$library" --dtype bf16 ${1:+--quick} --json "$OUT/check.json" &&
    build/check --library "$library" --dtype bf16 --quick --deterministic --json "$OUT/check-deterministic.json"
}
# The four tools at once, each on the whole quick table of our own kernels (cuBLASLt's are not ours to prove), or of SANITIZE_OP alone.
sanitize() {
  local tools=${*:-memcheck racecheck initcheck synccheck} tool
  for tool in $tools; do
    (
      timeout "${SANITIZE_SECS:-100}" compute-sanitizer --tool "$tool" --error-exitcode 9 build/check --library "$library" --dtype bf16 --quick --cublaslt none ${SANITIZE_OP:+--op "$SANITIZE_OP"} \
        >"$OUT/sanitize-$tool.txt" 2>&1
      local code=$? log=$OUT/sanitize-$tool.txt
      echo "$tool: exit $code$([ $code = 124 ] && echo " (out of time in or after: $(tail -n 1 "$log" | cut -c1-40))"); $(grep 'SUMMARY' "$log" | tail -n 1); $(grep -E '^(all within|FAILED)' "$log")"
      grep -E '^========= (Invalid|Uninitialized|Error|Warning|Race|Barrier|Program hit)' "$log" | sed 's/0x[0-9a-f]*/0x../g' | sort | uniq -c | head -n 8
    ) &
  done
  wait
}
# Whole-model logits on every way through the engine against Transformers: model [preset] [layers]
model() {
  local folder
  folder=$(mktemp -d)
  timeout 120 node test/gpu/logits.mjs --out "$folder" --model "${1:-llama-3-8b}" ${2:+--layers "$2"} &&
    timeout 150 python3 test/gpu/logits.py "$folder" --device cuda --json "$OUT/logits-${1:-llama-3-8b}${2:+-$2}.json"
  local code=$?
  rm -rf "$folder"
  return $code
}
# Greedy answers of both engines, deterministic and fast: answers [preset]
answers() { timeout 200 node test/gpu/answers.mjs --model "${1:-llama-3-8b}" --json "$OUT/answers-${1:-llama-3-8b}.json"; }
faults() { timeout 200 node test/gpu/faults.mjs --only "${1:-}" --json "$OUT/faults.json"; }
kernels() { node dist/kernels/bench.js --json --library cuda --model "${1:-llama-3-8b}" >"$OUT/kernels-${1:-llama-3-8b}.json" && node dist/kernels/bench.js --library cuda --model "${1:-llama-3-8b}"; }

# Prefill attention by wgmma: beside mma.sync and both timed; then against f64, and its bits alone and in chunks.
attention() {
  local code=0
  timeout 200 node test/gpu/attention.mjs --json "$OUT/attention.json" || return 1
  for suite in "attention" "attention --deterministic" "attention_bits --deterministic"; do
    # shellcheck disable=SC2086
    timeout 120 build/check --library "$library" --dtype bf16 --cublaslt none --op $suite || code=1
  done
  return $code
}

# A decode step on the device alone, by batch size: step [preset] [batches] [more flags]
step() { node test/gpu/step.mjs --model "${1:-llama-3-8b}" --batch "${2:-1,16,64,256}" --json "$OUT/step-${1:-llama-3-8b}.json" "${@:3}"; }

# One row of the reference table: name, then what bench run takes. Everything of it ends in $OUT/rows.tar.gz.
row() {
  local name=$1
  shift
  echo "== $name: bench run $* ($SECONDS s)"
  mkdir -p results
  rm -rf "results/$name"
  timeout "${ROW_SECS:-420}" ./bench run "$@" --out "results/$name" --no-color --quiet >"results/$name.txt" 2>"results/$name.log" || { echo "exit $?"; tail -n 5 "results/$name.log"; }
  head -n 2 "results/$name.txt"
}
rows_decode1() { row decode-c1 decode -c 1 -n 11 --warmup 1 --repeats 1 -t static paged; }
rows_decode16() { row decode-c16 decode -c 16 -n 32 --warmup 16 --repeats 1 -t static paged; }
rows_decode64() { row decode-c64 decode -c 64 -n 128 --warmup 64 --repeats 1 -t static paged; }
rows_decode256() { row decode-c256 decode -c 256 -n 512 --warmup 256 --repeats 1 -t paged; }
rows_even256() { row even-c256 even -c 256 -n 512 --warmup 256 --repeats 1 -t paged --gpu-memory-utilization 0.95; }
# A static batch of slots of 4,096 tokens holds some 107 of them in this memory: one to warm up, four whole ones to measure.
rows_static256() {
  row decode-c256-static decode -c 256 -n 428 --warmup 107 --repeats 1 -t static
  row even-c256-static even -c 256 -n 428 --warmup 107 --repeats 1 -t static --gpu-memory-utilization 0.95
}
rows_prefill16() { row prefill-c16 prefill -c 16 -n 256 --warmup 32 --repeats 1 -t static paged; }
rows_chat16() { row chat-c16 chat -c 16 -n "${CHAT_REQUESTS:-160}" --warmup 16 --repeats "${REPEATS:-3}" -t static paged; }
rows_fixed16() { row fixed-c16 fixed -c 16 -n 128 --warmup 16 --repeats 3 -t static paged; }
rows_smollm() { row smollm-c1 decode -c 1 -n 24 --warmup 1 --repeats 1 -t static paged --model smollm2-135m; }
# The ceilings are measured once, before the rows.
matrix() {
  BENCH_CEILINGS=$(node dist/kernels/bench.js --json --ceilings --library cuda | node -e 'let t="";process.stdin.on("data",d=>t+=d).on("end",()=>console.log(JSON.stringify(JSON.parse(t).ceilings)))')
  export BENCH_CEILINGS
  echo "ceilings $BENCH_CEILINGS"
  for name in "$@"; do "rows_$name"; done
  pack
}
pack() {
  tar -czf "$OUT/rows.tar.gz" results # raw records and all: every figure can be computed again from them
  ls -la "$OUT/rows.tar.gz"
}
# The peer on the plan of the chat row: static generate and continuous batching of Transformers, then both into that row's report.
peers() {
  row chat-peers chat -c 16 -n "${PEER_REQUESTS:-64}" --warmup 16 --repeats 1 -t static paged --export-plan "$OUT/plan.jsonl"
  for mode in static continuous; do
    timeout "${PEER_SECS:-330}" python3 test/peers/transformers.py --plan "$OUT/plan.jsonl" --mode "$mode" --out "$OUT/hf-$mode.json" 2>&1 | tail -n 3
    [ -f "$OUT/hf-$mode.json" ] && ./bench import "$OUT/hf-$mode.json" --into results/chat-peers
  done
  ./bench report results/chat-peers --format table
  rm -f "$OUT"/hf-*.json
  pack
}

command=${1:-info}
shift || true
"$command" "$@"
