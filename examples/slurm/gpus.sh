#!/usr/bin/env bash
# Features on all GPUs of a node: one process a GPU, to which rows are dealt in turn.
#
#   sbatch gpus.sh n4.tsv
#   awk 'NR == 1 || FNR > 1' parts/gpu-*.tsv > features.tsv
#SBATCH --nodes=1
#SBATCH --ntasks=4
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
set -uo pipefail

mkdir -p parts
export TABLE=$1
# Slurm shows each task its own GPU alone, by CUDA_VISIBLE_DEVICES.
srun bash -c '
  awk -v n="$SLURM_NTASKS" -v k="$SLURM_PROCID" "NR == 1 || NR % n == k" "$TABLE" \
    | oa-embed -j "${SLURM_CPUS_PER_TASK:-1}" --device "${DEVICE:-cuda}" ${OA_EMBED:-} -o features \
        --failed failed-embed.tsv > "parts/gpu-$SLURM_PROCID.tsv"
'
