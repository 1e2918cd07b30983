#!/usr/bin/env bash
# launch.sh BACKEND ARGUMENTS...: `vgg train BACKEND ARGUMENTS...` on several machines, started once on each of them.
#   HOSTS    HOST:PORT of every machine, the same list on all; the first is where they meet
#   MACHINE  this one's number in it, from 0
#   DEVICES  how many devices each machine has
#   PYTHON   one that has torch or mxnet, for the launcher or the servers alone (default: that of vgg's environment)
set -euo pipefail
backend=$1
shift
read -r -a hosts <<<"$HOSTS"
head=${hosts[0]%:*} port=${hosts[0]##*:} count=${#hosts[@]}
own="from vgg.process.environments import launch, registry; print(*launch(registry.find('$backend'), 'uv', '')[0])"
: "${PYTHON:=$(python -c "$own")}"

case $backend in
torch)
  exec $PYTHON -m torch.distributed.run --nnodes "$count" --nproc-per-node "$DEVICES" --node-rank "$MACHINE" \
    --master-addr "$head" --master-port "$port" --no-python vgg train torch "$@"
  ;;
tensorflow)
  workers=$(printf ', "%s"' "${hosts[@]}")
  export TF_CONFIG='{"cluster": {"worker": ['${workers:2}']}, "task": {"type": "worker", "index": '$MACHINE'}}'
  ;;
jax)
  export JAX_COORDINATOR_ADDRESS=${hosts[0]} JAX_NUM_PROCESSES=$count JAX_PROCESS_ID=$MACHINE
  ;;
mxnet)
  export DMLC_USE_KUBERNETES=1 # the scheduler listens everywhere: it cannot bind to a name
  export DMLC_PS_ROOT_URI=$head DMLC_PS_ROOT_PORT=$port DMLC_NUM_WORKER=$count DMLC_NUM_SERVER=1
  if [ "$MACHINE" = 0 ]; then
    trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
    for role in scheduler server; do DMLC_ROLE=$role $PYTHON -c 'import mxnet' & done
  fi
  export DMLC_ROLE=worker DMLC_WORKER_ID=$MACHINE
  ;;
esac
vgg train "$backend" "$@" --replicas "$DEVICES"
