#!/bin/bash
# One run on several hosts under SLURM: one process a host, with all of its GPUs. From the root of this project:
#     sbatch --nodes 4 launch/slurm.sh facenet --config facenet/small --data DIR --out runs/four
# It is started again, from its last checkpoint, when it is preempted, out of time, or one of its hosts is lost.
#SBATCH --job-name=faces
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=USR1@120

if [ $# -lt 1 ]; then
    echo "usage: sbatch --nodes N launch/slurm.sh facenet|arcface OPTIONS, with --out" >&2
    exit 2
fi
main=$1
shift
out=
for ((place = 1; place < $#; place++)); do
    next=$((place + 1))
    [ "${!place}" != --out ] || out=${!next}
done
if [ -z "$out" ]; then
    echo "launch/slurm.sh: --out is missing: a folder on a disk that all hosts share" >&2
    exit 2
fi
again=()
starts=${SLURM_RESTART_COUNT:-0}
if [ "$starts" -gt 0 ] && [ -e "$out/config.toml" ]; then
    again=(--resume)
fi
# SLURM sends USR1 two minutes before the end to the steps, which srun starts; the last checkpoint is then a fresh one.
# With --kill-on-bad-exit=0 each process ends by itself, with its own last words.
srun --kill-on-bad-exit=0 python -m "experiments.$main" "$@" --coordinator auto "${again[@]}"
code=$?
# 75: stopped by a signal; 69: a process was lost (srun tells the highest code of all, 137 of one that was killed).
# A process that is killed at every start, for want of memory say, does not come again for ever.
case $code in
    69 | 75 | 137 | 143) [ "$starts" -ge 50 ] || scontrol requeue "$SLURM_JOB_ID" ;;
esac
exit $code
