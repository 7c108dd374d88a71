#!/bin/sh
# Writes Redis's users and the configuration of its role, then becomes the server. Redis keeps hashes of passwords:
# @NAME@ in users.acl stands for the hash of the secret NAME.
set -eu
umask 077

hash() {
    head -n 1 "/run/secrets/$1" | tr -d '\r\n' | sha256sum | cut -d ' ' -f 1
}

sed -e "s/@redis_password@/$(hash redis_password)/;s/@nodes_password@/$(hash nodes_password)/" \
    /etc/redis/users.acl >/run/redis/users.acl

# Which node is the master the Sentinels know, and nobody else: one that took itself for the master after a failover
# would confirm writes that are lost later. Without Sentinels (SENTINELS is empty) this is the only Redis.
master() {
    for sentinel in $SENTINELS; do
        timeout 2 redis-cli -h "$sentinel" -p 26379 --raw sentinel get-master-addr-by-name robots 2>/dev/null || true
    done | head -n 1
}

role() {
    until answer=$(master) && [ -n "$answer" ]; do
        echo "no Sentinel answers yet" >&2
        sleep 1
    done
    echo "the master is $answer" >&2
    [ "$answer" = "$NODE" ] || echo "replicaof $answer 6379"
    echo "replica-announce-ip $NODE"
    echo "masteruser replica"
    echo "masterauth $(head -n 1 /run/secrets/nodes_password | tr -d '\r\n')"
}

if [ -n "${SENTINELS:-}" ]; then
    role >/run/redis/role.conf
else
    : >/run/redis/role.conf
fi
exec redis-server /etc/redis/redis.conf
