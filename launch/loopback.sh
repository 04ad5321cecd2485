#!/bin/bash
# One run of N processes on this machine, as a trial of what hosts do; each process has its number's log. From the root:
#     launch/loopback.sh 2 facenet --config facenet/tiny --out runs/two
# Devices of a process without an accelerator: XLA_FLAGS=--xla_force_host_platform_device_count=4

if [ $# -lt 2 ]; then
    echo "usage: launch/loopback.sh N facenet|arcface OPTIONS" >&2
    exit 2
fi
count=$1 main=$2
shift 2
port=${PORT:-$((20000 + $$ % 10000))}
logs=$(mktemp -d)
processes=()
trap 'kill -TERM "${processes[@]}" 2>/dev/null' TERM INT
for ((number = count - 1; number >= 0; number--)); do
    python -m "experiments.$main" "$@" --coordinator "127.0.0.1:$port" --processes "$count" --process "$number" \
        >"$logs/$number.log" 2>&1 &
    processes+=($!)
done
code=0
for process in "${processes[@]}"; do
    wait "$process" || code=$?
done
cat "$logs/0.log"
for ((number = 1; number < count; number++)); do
    echo "--- process $number" && cat "$logs/$number.log"
done
rm -r "$logs"
exit $code
