#!/usr/bin/env bash
# One model on two nodes of a Slurm cluster, four GPUs each:
#
#   sbatch examples/slurm.sh recipes/drive.yaml
#
# Slurm sends the job to the queue again when its time is up or a node fails; --resume then goes on
# from the last checkpoint, bit for bit if the new nodes are like the old ones (it says so if not).
#SBATCH --job-name=hidiff
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=hidiff-%j.log
set -euo pipefail

RECIPE=${1:?"which recipe? sbatch examples/slurm.sh recipes/drive.yaml"}
shift
FIRST=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export OMP_NUM_THREADS=$((SLURM_CPUS_PER_TASK / 4))

# srun starts one torchrun on each node, and torchrun one process for each GPU. A process that dies
# ends the others, and --kill-on-bad-exit the other node, so that nothing waits for it.
srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" \
  --nproc_per_node 4 \
  --rdzv_id "$SLURM_JOB_ID" \
  --rdzv_backend c10d \
  --rdzv_endpoint "$FIRST:29500" \
  -m hidiff train "$RECIPE" --resume "$@"
