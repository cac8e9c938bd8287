#!/usr/bin/env bash
# A Dask cluster on this machine's loopback address that outlives the runs: deploy/local/cluster.sh WORKERS FOLDER
# Then, as often as you like: ipsdist run cubic --scheduler FOLDER/scheduler.json
# Ctrl-C (or SIGTERM) stops it and leaves nothing but the logs in FOLDER.
set -euo pipefail
workers=${1:?number of workers} folder=${2:?folder for scheduler.json and logs}
mkdir -p "$folder"
rm -f "$folder/scheduler.json" # of a cluster that is gone
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
# Dask has workers give memory back at once, which costs short runs a sixth of their time; docs/clusters.md.
export MALLOC_TRIM_THRESHOLD_=67108864 MALLOC_MMAP_THRESHOLD_=33554432
# One thread a worker: BLAS and Numba run on one where bits are promised. A worker that dies is started anew.
dask worker --scheduler-file "$folder/scheduler.json" --host 127.0.0.1 --nworkers "$workers" --nthreads 1 \
    --no-dashboard --local-directory "$folder" >"$folder/workers.log" 2>&1 &
parts+=($!)
echo "use it with --scheduler $folder/scheduler.json; stop it with Ctrl-C" >&2
wait -n "${parts[@]}" || true # either one gone is the end of it
echo "the cluster ended; see $folder/scheduler.log and $folder/workers.log" >&2
exit 1
