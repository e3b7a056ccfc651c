#!/bin/bash
# Train on several machines with nothing but ssh: docs/launch/ssh.sh DATA RUN HOST HOST ...
# Every host has the same environment in ~/vicinal, and sees DATA and RUN under the same path.
set -euo pipefail

if (($# < 3)); then
  echo "usage: ssh.sh DATA RUN HOST ..." >&2
  exit 2
fi
data=$1 run=$2
shift 2
hosts=("$@")
ranks=${RANKS_PER_HOST:-8}

agent() { # what a host runs, quoted once more for the shell at its end
  printf "%q " vicinal/bin/torchrun \
    --nnodes "${#hosts[@]}" \
    --nproc-per-node "$ranks" \
    --max-restarts 3 \
    --rdzv-id vicinal \
    --rdzv-backend c10d \
    --rdzv-endpoint "${hosts[0]}:29500" \
    -m -- vicinal train "$data" --run "$run" --resume --set training.checkpoint_steps=1000
}

# -tt: a host's agent ends when the connection does, so Ctrl-C here ends the training everywhere.
agents=()
for host in "${hosts[@]}"; do
  ssh -tt "$host" "$(agent)" </dev/null &
  agents+=($!)
done
trap 'kill "${agents[@]}" 2>/dev/null || true' INT TERM
status=0
for one in "${agents[@]}"; do
  wait "$one" || status=$?
done
exit "$status"
