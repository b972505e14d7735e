#!/usr/bin/env bash
# From DICOM to features as a job array of Slurm: each task takes its share of the series through the whole pipe.
#
#   oa-convert --list OAI/00m --sequence cor-iw-tse > series.tsv
#   sbatch --array=0-15 array.sh series.tsv
#   awk 'NR == 1 || FNR > 1' parts/features-*.tsv > features.tsv
#
# Submit it again after a time limit or a crash: what is done is kept. A task in which a series failed ends with
# status 1, and the tables failed-*.tsv name the series and the reason. Once that is mended, they are the input:
#
#   sbatch --array=0 array.sh failed-convert.tsv
#
# Thousands of series belong in some dozens of tasks: a task of a second costs the scheduler more than it does.
#SBATCH --cpus-per-task=4
#SBATCH --mem-per-cpu=2G
#SBATCH --time=08:00:00
#SBATCH --output=slurm-%A_%a.txt
set -uo pipefail

series=$1
task=$((${SLURM_ARRAY_TASK_ID:-0} - ${SLURM_ARRAY_TASK_MIN:-0}))
tasks=${SLURM_ARRAY_TASK_COUNT:-1}
jobs=${SLURM_CPUS_PER_TASK:-1}
share=$(basename "$series" .tsv)-$task

mkdir -p parts
# Rows are dealt in turn, so that no task gets all that is slow.
awk -v n="$tasks" -v k="$task" 'NR == 1 || NR % n == k' "$series" > "parts/$share.tsv"

oa-convert "parts/$share.tsv" -j "$jobs" -o nii --failed failed-convert.tsv \
  | oa-orient -o oriented --failed failed-orient.tsv \
  | oa-n4 -j "$jobs" -o n4 --failed failed-n4.tsv \
  | oa-embed -j "$jobs" ${OA_EMBED:-} -o features --failed failed-embed.tsv > "parts/features-$share.tsv"
