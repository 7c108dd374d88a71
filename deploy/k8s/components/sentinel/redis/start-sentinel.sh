#!/bin/sh
# Becomes this node's Sentinel. What it has learnt is on the volume; before that, redis-0 is the master. Clients need no
# password: they can only ask where the master is.
set -eu
umask 077
conf=/data/sentinel.conf
password=$(head -n 1 /run/secrets/redis/nodes-password)

if [ ! -s "$conf" ]; then
    cat >"$conf" <<EOF
port 26379
dir /tmp
user default on nopass resetkeys allchannels -@all +auth +hello +ping +info +role +publish +subscribe +psubscribe +client|setname +client|id +command +sentinel|get-master-addr-by-name +sentinel|master +sentinel|masters +sentinel|replicas +sentinel|slaves +sentinel|sentinels +sentinel|is-master-down-by-addr +sentinel|myid +sentinel|ckquorum
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $HOSTNAME.redis-nodes
sentinel monitor robots redis-0.redis-nodes 6379 2
sentinel down-after-milliseconds robots 5000
sentinel failover-timeout robots 30000
sentinel parallel-syncs robots 1
sentinel auth-user robots sentinel
EOF
fi
sed -i '/^sentinel auth-pass /d' "$conf" # the password may be a new one
echo "sentinel auth-pass robots $password" >>"$conf"
exec redis-server "$conf" --sentinel
