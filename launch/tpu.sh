#!/bin/bash
# One process on each host of a Cloud TPU slice, started from outside of it:
#     launch/tpu.sh NAME ZONE facenet --config facenet/small --data DIR --out gs-mounted/runs/slice
# The project, its requirements and the data must be on every host, in ~/faces and DIR, and --out on a disk they share.
set -eu

if [ $# -lt 3 ]; then
    echo "usage: launch/tpu.sh NAME ZONE facenet|arcface OPTIONS" >&2
    exit 2
fi
name=$1 zone=$2 main=$3
shift 3
first=$(gcloud compute tpus tpu-vm describe "$name" --zone "$zone" --format 'value(networkEndpoints[0].ipAddress)')
count=$(gcloud compute tpus tpu-vm describe "$name" --zone "$zone" --format 'value(networkEndpoints.len())')
options=$(printf ' %q' "$@")
number="\$(curl -sf -H 'Metadata-Flavor: Google' \
http://metadata.google.internal/computeMetadata/v1/instance/attributes/agent-worker-number)"
gcloud compute tpus tpu-vm ssh "$name" --zone "$zone" --worker all --command \
    "cd ~/faces && python -m experiments.$main$options --coordinator $first:8476 --processes $count --process $number"
