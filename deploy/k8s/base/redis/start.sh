#!/bin/sh
# Writes the users of this Redis, and the configuration of its role if it has several nodes; then becomes the server.
# Redis keeps hashes of passwords, never passwords: @NAME@ stands for the hash of the file NAME of the Secrets.
set -eu
umask 077

hashes=
for file in /run/secrets/redis/*; do
    hash=$(head -n 1 "$file" | tr -d '\r\n' | sha256sum | cut -d ' ' -f 1)
    hashes="$hashes;s/@$(basename "$file")@/$hash/g"
done
cat /etc/redis/users*.acl | sed -e "${hashes#;}" >/run/redis/users.acl

if [ -e /etc/redis/role.sh ]; then
    sh /etc/redis/role.sh >/run/redis/role.conf
fi
exec redis-server /etc/redis/redis.conf
