#!/usr/bin/env bash
# For a machine with a GPU and no network: builds fastlstm against the torch that is there, into a
# folder of its own, then checks and times it, in less than ten minutes.
#
#   benchmarks/on_gpu.sh [--dry-run] [--list] [STAGE ...]
#
# Without a STAGE all run; --list names them. Where facts, build or correctness fails, the rest does
# not run. --dry-run goes the same way on the CPU in about a minute, with the fastlstm that PYTHON
# finds; it builds only if `build` is named.
#
#   PYTHON              the interpreter whose torch is used (python3)
#   OUT                 folder of the CSV, the pictures and on_gpu.log, which holds all output
#                       (benchmarks/results; the log, and all of a dry run, in build/on_gpu)
#   ON_GPU_LIMIT_grid   seconds that the stage grid may take; so for every stage
#
# Exit codes: 0 every stage ok or skipped, 1 one failed, 2 wrong arguments.
set -euo pipefail

stages=(facts build correctness exchange compile sanitize races grid table)
declare -A limits=([facts]=20 [build]=50 [correctness]=110 [exchange]=20 [compile]=70 [sanitize]=80
  [races]=50 [grid]=160 [table]=15)
essential=" facts build correctness "
skipped=77 # the exit code of a stage that has nothing to do

facts() {
  if [[ -z $dry ]]; then
    nvidia-smi --format=csv --query-gpu=name,driver_version,mig.mode.current,memory.total || true
    nvidia-smi --format=csv \
      --query-gpu=clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit || true
    if command -v nvcc >/dev/null; then nvcc --version | tail -n 2; fi
  fi
  "$python" "$root/benchmarks/gpu/facts.py" "$device"
}

build() {
  if [[ -z $builds ]]; then
    "$python" -c 'import fastlstm; print("dry run, with", fastlstm.__file__)'
    return "$skipped"
  fi
  "$python" -m pip install --quiet --no-input --disable-pip-version-check --root-user-action ignore \
    --no-index --no-deps --no-build-isolation --upgrade --target "$site" "$root"
  "$python" -c 'from fastlstm import _C; print(_C.__file__, *_C.isas())'
}

fastlstm() {
  "$python" -c 'from fastlstm.cli import main; raise SystemExit(main())' "$@"
}

correctness() {
  if [[ -n $dry ]]; then
    fastlstm verify --quick --device cpu
    return
  fi
  local tests
  mapfile -t tests < <(grep -rl --include='*.py' -e 'mark[.]gpu' "$root/tests")
  if [[ ${#tests[@]} -gt 0 ]]; then
    "$python" -m pytest -q -m gpu -p no:cacheprovider "${tests[@]}"
  fi
  fastlstm verify --device cuda --dtype float32 --dtype bfloat16 --dtype float16
}

exchange() {
  "$python" "$root/benchmarks/gpu/exchange.py"
}

compile() {
  "$python" "$root/benchmarks/gpu/compile.py"
}

sanitize() {
  local calls=("$python" "$root/benchmarks/gpu/sanitize.py" --device "$device") tool options failed=()
  if [[ -n $dry ]]; then
    echo "dry run: without compute-sanitizer"
    "${calls[@]}"
    return
  fi
  "${calls[@]}" --list
  export PATH=$PATH:/usr/local/cuda/bin
  if ! command -v compute-sanitizer; then
    echo "compute-sanitizer not found"
    return "$skipped"
  fi
  # Others' kernels are not checked. Each tensor is an allocation of its own, with edges to cross.
  options=(--error-exitcode 1 --target-processes application-only --launch-timeout 0
    --report-api-errors no
    --kernel-name-exclude 'regex=at6native|cublas|cutlass|nvjet|gemm|gemv|splitK|cudnn')
  for tool in memcheck racecheck synccheck; do
    echo "== $tool"
    PYTORCH_NO_CUDA_MEMORY_CACHING=1 timeout --foreground --kill-after=5 "$((limit / 3 - 1))" \
      compute-sanitizer --tool "$tool" "${options[@]}" "${calls[@]}" || failed+=("$tool: exit code $?")
  done
  if [[ ${#failed[@]} -gt 0 ]]; then
    echo "${failed[*]} (124: it took too long)"
    return 1
  fi
}

races() {
  "$python" "$root/benchmarks/gpu/races.py" --device "$device" ${dry:+--repeats 2}
}

grid() {
  local shapes=(--dtype float32 --dtype bfloat16 --dtype float16)
  if [[ -n $dry ]]; then shapes=(--shapes "8,8,1,2,3"); fi
  fastlstm bench --quick --device "$device" "${shapes[@]}" --against nn.LSTM --output "$results"
}

table() {
  "$python" "$root/benchmarks/gpu/summary.py" "$results" "$device"
}

usage() {
  echo "on_gpu: $1; stages: ${stages[*]}" >&2
  exit 2
}

limit_of() {
  local name=ON_GPU_LIMIT_$1
  echo "${!name:-${limits[$1]}}"
}

# Runs a stage and sets `outcome`, `reason` (the last line it said) and `seconds`.
run_stage() {
  local started=$SECONDS code=0 start
  limit=$(limit_of "$1")
  echo "=== $1, at most $limit s" >>"$log"
  start=$(stat -c %s "$log")
  timeout --kill-after=5 "$limit" bash -euo pipefail -c "$1" >>"$log" 2>&1 &
  child=$!
  wait "$child" || code=$?
  child=
  seconds=$((SECONDS - started))
  tail -c "+$((start + 1))" "$log" >said
  reason=$(grep -v '^[[:space:]]*$' said | tail -n 1) || reason="it said nothing"
  case $code in
    0)
      outcome=ok
      if [[ $1 == facts || $1 == grid || $1 == table ]]; then reason=''; fi
      ;;
    "$skipped") outcome=skipped ;;
    124 | 137) outcome=failed reason="it took longer than $limit s" ;;
    *) outcome=failed ;;
  esac
}

builds=yes dry='' device=cuda
wanted=() child=''
for argument in "$@"; do
  case $argument in
    --dry-run) dry=yes device=cpu ;;
    --list)
      for stage in "${stages[@]}"; do echo "$stage, at most $(limit_of "$stage") s"; done
      exit
      ;;
    *)
      [[ " ${stages[*]} " == *" $argument "* ]] || usage "no stage is called '$argument'"
      wanted+=("$argument")
      ;;
  esac
done
if [[ -n $dry && " ${wanted[*]} " != *" build "* ]]; then builds=''; fi
if [[ ${#wanted[@]} -eq 0 ]]; then wanted=("${stages[@]}"); fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
python=$(command -v "${PYTHON:-python3}") || usage "PYTHON: there is no '${PYTHON:-python3}'"
python=$(realpath -s "$python")
site=$root/build/on_gpu/site
logs=$(realpath -m "${OUT:-$root/build/on_gpu}")
results=$(realpath -m "${OUT:-$root/benchmarks/results}")
if [[ -n $dry ]]; then
  results=$logs
  export OMP_NUM_THREADS=1
fi
if [[ -n $builds && " ${wanted[*]} " != *" build "* && ${wanted[*]} != facts && ! -d $site ]]; then
  usage "nothing is built yet: run the stage build"
fi
mkdir -p "$logs" "$results"
log=$logs/on_gpu.log
: >"$log"
if [[ -n $builds ]]; then export PYTHONPATH=$site${PYTHONPATH:+:$PYTHONPATH}; fi
# What is built has no checkout to ask for its commit.
commit=$(git -C "$root" describe --always --dirty 2>/dev/null) || commit=
export FASTLSTM_COMMIT=${FASTLSTM_COMMIT:-$commit}
unset TRITON_INTERPRET # what runs here are the GPU's kernels
export PYTHONUNBUFFERED=1 python root site results device dry builds skipped limit
export -f "${stages[@]}" fastlstm

# Not in the checkout, whose fastlstm python would take for the one that was built.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
trap 'if [[ -n $child ]]; then kill "$child"; fi; exit 130' INT TERM
cd "$scratch"

lines=() stopped='' failures=0
for stage in "${stages[@]}"; do
  [[ " ${wanted[*]} " == *" $stage "* ]] || continue
  run_stage "$stage"
  lines+=("$(printf '%-12s %-8s %4s s%s' "$stage" "$outcome" "$seconds" "${reason:+  $reason}")")
  echo "on_gpu: ${lines[-1]}"
  if [[ $outcome == failed ]]; then
    failures=$((failures + 1))
    tail -n 20 said
    if [[ $essential == *" $stage "* ]]; then
      stopped="on_gpu: stopped at $stage: $reason; log: $log"
      break
    fi
  elif [[ $stage == facts || $stage == table ]]; then
    cat said
  fi
done
printf '%s\n' '' "${lines[@]}" ${stopped:+"$stopped"} | tee -a "$log"
[[ $failures -eq 0 ]]
