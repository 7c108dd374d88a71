#!/bin/sh
# Prints the configuration of this node's role: master or replica, as the Sentinels say. It waits until one of them
# answers: a node that takes itself for the master would confirm writes that are lost later.
set -eu

nodes="redis-0 redis-1 redis-2"
me=$HOSTNAME.redis-nodes

master() {
    for node in $nodes; do # first the others: after an outage of this pod they know better
        [ "$node" = "$HOSTNAME" ] || ask "$node.redis-nodes"
    done
    ask "$me"
}

ask() {
    timeout 2 redis-cli -h "$1" -p 26379 --raw sentinel get-master-addr-by-name robots 2>/dev/null || true
}

until answer=$(master | head -n 1) && [ -n "$answer" ]; do
    echo "no Sentinel answers yet" >&2
    sleep 1
done
echo "the master is $answer" >&2

[ "$answer" = "$me" ] || echo "replicaof $answer 6379"
echo "replica-announce-ip $me"
echo "masteruser replica"
echo "masterauth $(head -n 1 /run/secrets/redis/nodes-password)"
# A master that is cut off from both replicas takes no writes: they would be lost with it.
echo "min-replicas-to-write 1"
echo "min-replicas-max-lag 10"
