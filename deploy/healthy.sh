#!/bin/sh
# Healthy: a long-running command of the lab keeps a heartbeat here, and none is older than 30 s. Two programs and no
# Python: dozens of containers ask this on one host.
cd "${ROBOTS_HEARTBEATS:?}" || exit 1
old=$(find . -type f ! -newermt '-30 seconds') || exit 1
if [ -n "$old" ]; then
    echo "no heartbeat for 30 s: $old"
    exit 1
fi
[ -n "$(find . -type f)" ] || { echo "no heartbeat yet"; exit 1; }
