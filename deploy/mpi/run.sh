#!/usr/bin/env bash
# A run on the processes of one mpirun: deploy/mpi/run.sh WORKERS run cubic --out DIR
# Rank 0 is the scheduler, rank 1 the driver, the others are workers: WORKERS + 2 processes. In a job of Slurm they are
# started by srun (--mpi by IPSDIST_MPI, default pmix); elsewhere by mpirun, which asks PBS, LSF or a file for its hosts
# (more words for it in IPSDIST_MPIRUN, for example "--hostfile hosts").
set -euo pipefail
workers=${1:?number of workers}
shift
[ $# -gt 0 ] || { echo "the command is missing, for example: $0 4 run cubic --out DIR" >&2; exit 2; }
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
if [ -n "${SLURM_JOB_ID:-}" ] && [ -z "${IPSDIST_MPIRUN+set}" ]; then
    exec srun --ntasks=$((workers + 2)) --mpi="${IPSDIST_MPI:-pmix}" ipsdist "$@" --cluster mpi
fi
# shellcheck disable=SC2086
exec mpirun ${IPSDIST_MPIRUN:-} -n $((workers + 2)) ipsdist "$@" --cluster mpi
