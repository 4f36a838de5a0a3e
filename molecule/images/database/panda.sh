#!/usr/bin/env bash
# Make the test database in the cluster that Debian's package made.   usage: panda.sh ROOT
set -euo pipefail
root=$1

# Before the first start and without a server; a role that only ever exists on a test network may have a known password.
# It has characters that mean something in configuration files, and is no word that a search would find elsewhere.
sql() { echo "$2" | chroot --userspec=postgres "$root" /usr/lib/postgresql/15/bin/postgres --single -D /var/lib/postgresql/15/main \
    -c config_file=/etc/postgresql/15/main/postgresql.conf "$1"; }
sql postgres "CREATE ROLE panda LOGIN PASSWORD 'Kept-in\"one%place'"
sql postgres "CREATE DATABASE panda OWNER panda ENCODING 'UTF8' LOCALE 'C.UTF-8' TEMPLATE template0"

echo "host all all samenet scram-sha-256" >>"$root/etc/postgresql/15/main/pg_hba.conf"
cat >"$root/etc/postgresql/15/main/conf.d/network.conf" <<'CONF'
listen_addresses = '*'
# /run starts empty.
unix_socket_directories = '/tmp'
CONF
