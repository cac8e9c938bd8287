#!/usr/bin/env bash
# A cluster of one worker a GPU on this node, on its loopback address: deploy/gpu/node.sh FOLDER
# Then: ipsdist run cubic --scheduler FOLDER/scheduler.json. For a single run `--cluster cuda` does the same by itself.
# Needs CuPy and dask-cuda (pip install ".[gpu,cuda]" in a clone; gpu12 for a driver of CUDA 12). dask-cuda gives every
# worker its CUDA_VISIBLE_DEVICES, and a worker steps on the first GPU that it sees; --device gpu refuses a run where
# one has none. The workers carry the resource GPU: 1; DASK_IPSDIST__RESOURCES='{"GPU": 1}' keeps tasks from other
# workers of a mixed cluster.
set -euo pipefail
folder=${1:?folder for scheduler.json and logs}
nvidia-smi --list-gpus >&2 || { echo "no GPU is seen here" >&2; exit 2; }
mkdir -p "$folder"
rm -f "$folder/scheduler.json"
parts=()
finish() {
    trap - EXIT INT TERM
    kill "${parts[@]}" 2>/dev/null || true
    wait || true
    rm -f "$folder/scheduler.json"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
dask scheduler --host 127.0.0.1 --port 0 --dashboard-address 127.0.0.1:0 \
    --scheduler-file "$folder/scheduler.json" >"$folder/scheduler.log" 2>&1 &
parts+=($!)
dask cuda worker --scheduler-file "$folder/scheduler.json" --host 127.0.0.1 --nthreads 1 --resources "GPU=1" \
    --local-directory "$folder" >"$folder/workers.log" 2>&1 &
parts+=($!)
echo "use it with --scheduler $folder/scheduler.json; stop it with Ctrl-C" >&2
wait -n "${parts[@]}" || true
echo "the cluster ended; see $folder/scheduler.log and $folder/workers.log" >&2
exit 1
