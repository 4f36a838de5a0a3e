#!/usr/bin/env bash
# Write the root tree of a Debian 12 host as its installer leaves it: ssh, Python, apt with its lists, and no service.
# usage: rootfs.sh FILE.tar
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

packages=(
    systemd systemd-sysv dbus openssh-server python3 python3-apt
    ca-certificates iproute2 iputils-ping netbase procps less sudo
)
# shellcheck disable=SC2016  # mmdebstrap runs the hooks with the tree as $1
mmdebstrap --mode=root --variant=minbase \
    --include="$(IFS=,; echo "${packages[*]}")" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --skip=cleanup/apt/lists \
    --customize-hook='rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"' \
    --customize-hook="$here/../boot-in-container.sh \"\$1\"" \
    bookworm "$1"
