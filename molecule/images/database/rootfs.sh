#!/usr/bin/env bash
# Write the root tree of a PostgreSQL 15 server, with a role and a database named panda (password: see panda.sh), open to its network.
# usage: rootfs.sh FILE.tar
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

mmdebstrap --mode=root --variant=minbase \
    --include=postgresql-15 \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="$here/panda.sh \"\$1\"" \
    bookworm "$1"
