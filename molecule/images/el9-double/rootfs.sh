#!/usr/bin/env bash
# Write the root tree of the EL9 double: Debian 12 inside, an EL9 host to Ansible, dnf, and everyone who reads paths.
# What it is faithful in, and what it is not, is said in README.md beside this file.
# usage: rootfs.sh FILE.tar
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

packages=(
    # What every EL9 host has.
    systemd systemd-sysv dbus polkitd openssh-server rpm dnf python3 python3-dnf python3-rpm python3-selinux
    iproute2 iputils-ping procps curl sudo passwd ca-certificates less tar gzip hostname netbase kmod
    # What firewalld's Python reads; firewalld itself is an RPM.
    python3-gi python3-dbus gir1.2-glib-2.0 python3-nftables python3-cap-ng ipset iptables
    # Run-time libraries of the programs that packages.yml turns into RPMs.
    libapr1 libaprutil1 libaprutil1-dbd-sqlite3 libaprutil1-ldap libbrotli1 libcurl4 libjansson4 libldap-2.5-0 liblua5.3-0
    libnghttp2-14 libpcre2-8-0 libxml2 libecap3 libgssapi-krb5-2 libltdl7 libnetfilter-conntrack3 libtdb1 libsasl2-2
    libpopt0 libdb5.3 libnsl2 libsqlite3-0 libreadline8 libnftables1 libedit2 libseccomp2 libcap2 libaudit1
    libopentracing-c-wrapper0
)
mmdebstrap --mode=root --variant=minbase \
    --include="$(IFS=,; echo "${packages[*]}")" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --skip=cleanup \
    --customize-hook="$here/double.sh \"\$1\"" \
    --customize-hook="$here/../boot-in-container.sh \"\$1\"" \
    bookworm "$1"
