#!/usr/bin/env bash
# Masks of many images on a Ray cluster of several machines. Start it on each:
#
#   NODE=0 FIRST=10.0.0.1 bash examples/ray_cluster.sh vessels images/ masks/    # on 10.0.0.1
#   NODE=1 FIRST=10.0.0.1 bash examples/ray_cluster.sh                           # on every other
#
# Needs the extra ray on all machines (pip install -c constraints.txt 'hidiff[ray]'), and a disk that
# they share under one path. Whoever reaches a Ray cluster can run code on its machines: let its
# ports be reached from your own machines only. Other machines may join and leave at any time.
set -euo pipefail

PORT=${PORT:-6379}
export RAY_USAGE_STATS_ENABLED=0  # sends nothing to Ray's makers
if [ "${NODE:?"0 on the first machine, another number on the others"}" != 0 ]; then
  exec ray start --address "${FIRST:?"address of the first machine"}:$PORT" --block
fi

trap 'ray stop > /dev/null' EXIT
ray start --head --node-ip-address "${FIRST:?"address of this machine"}" --port "$PORT" \
  --include-dashboard=false ${CPUS:+--num-cpus "$CPUS"}
hidiff predict "${1:?"which model?"}" "${2:?"which images?"}" --output "${3:?"where to?"}" \
  --continue --ray "$FIRST:$PORT" "${@:4}"
