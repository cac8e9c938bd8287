#!/usr/bin/env bash
# A Dask cluster on this machine's loopback address: deploy/local-cluster.sh WORKERS DIR
# Then: ipsdist run cubic --scheduler DIR/scheduler.json ; stop the cluster with Ctrl-C.
set -euo pipefail
workers=${1:?number of workers} dir=${2:?folder for scheduler.json and logs}
mkdir -p "$dir"
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
dask scheduler --host 127.0.0.1 --port 0 --dashboard-address 127.0.0.1:0 --scheduler-file "$dir/scheduler.json" >"$dir/scheduler.log" 2>&1 &
dask worker --scheduler-file "$dir/scheduler.json" --host 127.0.0.1 --nworkers "$workers" --nthreads 1 --no-dashboard >"$dir/workers.log" 2>&1 &
wait
