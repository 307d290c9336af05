#!/usr/bin/env bash
# Masks of many images by a Slurm array, a share of them for each task:
#
#   sbatch examples/slurm_predict.sh vessels images/ masks/
#   sbatch --array=3,7 examples/slurm_predict.sh vessels images/ masks/    # two of the tasks again
#
# Model, images and masks lie on a disk that all nodes share. Slurm sends a task to the queue again
# when its time is up or its node fails; --continue then does what is missing.
#SBATCH --job-name=hidiff
#SBATCH --array=1-16
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=hidiff-%A-%a.log
set -euo pipefail

PARTS=${PARTS:-16}  # the number of shares; --array is 1 to this, or some of them
MODEL=${1:?"which model? sbatch examples/slurm_predict.sh vessels images/ masks/"}
IMAGES=${2:?"which images? a folder"}
MASKS=${3:?"where to? a folder"}
shift 3

hidiff predict "$MODEL" "$IMAGES" --output "$MASKS" --continue \
  --part "$SLURM_ARRAY_TASK_ID" --parts "$PARTS" \
  --threads "${SLURM_CPUS_PER_TASK:-2}" "$@"
