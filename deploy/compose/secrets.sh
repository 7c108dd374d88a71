#!/bin/sh
# Makes the passwords that compose.yaml mounts, unless they are there: deploy/compose/secrets.sh. Only you may enter the
# folder; the files can be read in the containers, which have users of their own.
set -eu
cd "$(dirname "$0")"
mkdir -p -m 700 secrets
for name in redis_password nodes_password; do
    if [ ! -s "secrets/$name" ]; then
        head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"secrets/$name"
        chmod 444 "secrets/$name"
    fi
done
