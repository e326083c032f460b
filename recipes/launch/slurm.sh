#!/bin/bash
# Slurm: several nodes with eight GPUs each, a whole copy of the model on each GPU (DDP).
#
#   sbatch --nodes 4 recipes/launch/slurm.sh recipes/r1-distill-1.5b-lora.toml --out runs/r1 \
#       --optim.batch-size 1 --optim.accumulation 1
#
# batch_size x accumulation x GPUs examples to a step: 1 x 1 x 32 are the recipe's 32. Every node must see the same run
# folder, base and data. Cores and time are our guess. Not run on a cluster; two launchers on one machine, which meet
# as those of two nodes do, were tried (docs/scale.md).

#SBATCH --job-name=dycktune
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=04:00:00
#SBATCH --output=%x-%j.log

set -euo pipefail

first_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# A launcher ends its own node's ranks; --kill-on-bad-exit ends the other launchers with it.
srun --kill-on-bad-exit=1 torchrun \
    --nnodes "$SLURM_JOB_NUM_NODES" --nproc-per-node 8 \
    --rdzv-backend c10d --rdzv-id "$SLURM_JOB_ID" --rdzv-endpoint "$first_node:29500" \
    -m dycktune train "$@"
