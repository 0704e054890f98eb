#!/usr/bin/env bash
# on_nodes.sh NODES PROCESSES MODULE [FLAG ...]: run a training on the nodes of this SLURM job, PROCESSES on each.
#
# torchrun would leave at SLURM's third word to stop, before all is saved, and srun kills at once when TERM reaches it.
# So srun is kept out of the process group that gets TERM, and is told by USR1, which it hands on.
: "${SLURM_JOB_ID:?nodes is $1, but this is no SLURM job: run with --profile slurm, or set nodes to 1}"
nodes=$1 processes=$2
shift 2
threads=$((${SLURM_CPUS_PER_TASK:-1} / processes))
export PAGODA_GROUP=1 OMP_NUM_THREADS=$((threads > 1 ? threads : 1))
export MASTER_ADDR=$(hostname) MASTER_PORT=$((20000 + RANDOM % 10000))
setsid srun --overlap --input=none --wait=60 --nodes="$nodes" --ntasks=$((nodes * processes)) \
    --ntasks-per-node="$processes" --cpus-per-task="$OMP_NUM_THREADS" \
    bash -c 'RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS exec python -m "$0" "$@"' "$@" &
srun=$!
trap 'kill -USR1 $srun' TERM
while wait $srun; status=$?; kill -0 $srun 2>/dev/null; do :; done # TERM ends a wait, not what is waited for
exit $status
