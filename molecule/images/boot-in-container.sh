#!/usr/bin/env bash
# Let a root tree boot systemd in a container and be reached over ssh, by root, with a key only.
# usage: boot-in-container.sh ROOT        The key and the host key come at boot, from tools/node.py.
set -euo pipefail
root=$1

# Units that need a machine of their own: devices, consoles, kernel file systems, seats.
for unit in systemd-udevd.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-firstboot.service \
    systemd-logind.service systemd-modules-load.service systemd-remount-fs.service systemd-pstore.service \
    getty.target console-getty.service dev-hugepages.mount dev-mqueue.mount \
    sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount; do
    ln -sfn /dev/null "$root/etc/systemd/system/$unit"
done

# An empty file asks for a new id at each first boot; no file at all would make it a "first boot" with presets.
: >"$root/etc/machine-id"

rm -f "$root"/etc/ssh/ssh_host_*
cat >"$root/etc/ssh/sshd_config.d/00-test-node.conf" <<'CONF'
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
CONF
