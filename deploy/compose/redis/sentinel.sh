#!/bin/sh
# Becomes one of the Sentinels. What it has learnt is on its volume; before that, the service `redis` is the master. Who
# is in its network may ask it where the master is, and nothing else.
set -eu
umask 077
conf=/data/sentinel.conf

if [ ! -s "$conf" ]; then
    cat >"$conf" <<EOF
port 26379
dir /tmp
user default on nopass resetkeys allchannels -@all +auth +hello +ping +info +role +publish +subscribe +psubscribe +client|setname +client|id +command +sentinel|get-master-addr-by-name +sentinel|master +sentinel|masters +sentinel|replicas +sentinel|slaves +sentinel|sentinels +sentinel|is-master-down-by-addr +sentinel|myid +sentinel|ckquorum
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $NODE
sentinel monitor robots redis 6379 2
sentinel down-after-milliseconds robots 3000
sentinel failover-timeout robots 20000
sentinel parallel-syncs robots 1
sentinel auth-user robots sentinel
EOF
fi
sed -i '/^sentinel auth-pass /d' "$conf" # the password may be a new one
echo "sentinel auth-pass robots $(head -n 1 /run/secrets/nodes_password | tr -d '\r\n')" >>"$conf"
exec redis-server "$conf" --sentinel
