#!/bin/bash
# Slurm array: a training for each line of a file, whose options replace those of the recipe.
#
#   sbatch --array 1-$(wc -l < sweep.txt) sweep.sh sweep.txt recipe.toml runs/sweep
#
# A task that Slurm starts again goes on from its last checkpoint. A run that is not healthy (exit status 1) is a result
# of the sweep too, and no failure of its task.

#SBATCH --job-name=sweep
#SBATCH --gpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log

set -euo pipefail

read -ra options < <(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")
dycktune train "$2" --out "$3/$SLURM_ARRAY_TASK_ID" "${options[@]}" || (($? == 1))
