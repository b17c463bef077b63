#!/bin/bash
#SBATCH --ntasks-per-node=1 --requeue --signal=TERM@120
# One run over several nodes, one rank for each GPU. It is put back into the queue when its time is up, and resumed:
#
#   sbatch --nodes=2 --gpus-per-node=4 --cpus-per-task=16 --time=12:00:00 several_nodes.sh runs/sha_rnn sha_rnn data/enwik8
#
# The first argument is the folder of the run, on a file system that all nodes share. The others are those of `rnnlab
# train`. The batch size has to be a multiple of the number of ranks. Without GPUs there is one rank a node, over gloo.
run=$1
shift
if [ -e "$run/config.gin" ]; then what=(resume "$run"); else what=(train "$@" --run "$run"); fi
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 10000))

# a task a node: torchrun, by the Python that has torch, starts the ranks of its node, and they meet at the first node
srun python -m torch.distributed.run --nnodes "$SLURM_NTASKS" --nproc-per-node "${SLURM_GPUS_ON_NODE:-1}" --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-backend c10d --rdzv-endpoint "$head:$port" -m -- rnnlab "${what[@]}"
code=$?
if grep -q '"status": "stopped"' "$run/result.json"; then scontrol requeue "$SLURM_JOB_ID"; fi
exit $code
