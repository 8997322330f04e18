#!/usr/bin/env bash
# One student on several machines with Slurm, from the project's root, in a folder that all of them see:
#
#     absld repro code fetch_teacher          # what the training reads, once
#     sbatch docs/slurm.sh absld 0            # METHOD SEED; killed or out of time, the same line goes on
#
#SBATCH --job-name=absld
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --signal=TERM@60
#SBATCH --output=slurm-%j.log
set -euo pipefail

method=${1:?usage: sbatch docs/slurm.sh METHOD SEED}
seed=${2:?usage: sbatch docs/slurm.sh METHOD SEED}
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

source .venv/bin/activate
srun torchrun \
    --nnodes "$SLURM_NNODES" \
    --nproc-per-node gpu \
    --rdzv-backend c10d \
    --rdzv-id "$SLURM_JOB_ID" \
    --rdzv-endpoint "$first:29500" \
    -m stages.train "$method" "$seed"
