#!/usr/bin/env bash
# One model on two machines, a process for each GPU. Start it on both:
#
#   NODE=0 FIRST=10.0.0.1 bash examples/torchrun_two_nodes.sh recipes/drive.yaml    # on 10.0.0.1
#   NODE=1 FIRST=10.0.0.1 bash examples/torchrun_two_nodes.sh recipes/drive.yaml    # on the other
#
# Both must see the same images and the same folder of runs, on a disk that they share. --resume
# goes on with a run if there is one and else begins it, so that the same command serves after a
# failure. training.batch_size counts over all processes: use a multiple of their number.
set -euo pipefail

RECIPE=${1:?"which recipe? bash examples/torchrun_two_nodes.sh recipes/drive.yaml"}
shift
PER_NODE=${PER_NODE:-$(nvidia-smi -L 2>/dev/null | wc -l)}  # GPUs here

torchrun \
  --nnodes 2 \
  --node_rank "${NODE:?"0 on the first machine, 1 on the other"}" \
  --nproc_per_node "$((PER_NODE > 0 ? PER_NODE : 1))" \
  --master_addr "${FIRST:?"address of the first machine"}" \
  --master_port "${PORT:-29500}" \
  -m hidiff train "$RECIPE" --resume "$@"
