#!/usr/bin/env bash
# Turn a Debian root tree into the EL9 double.   usage: double.sh ROOT
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$1

build_repository() {
    mkdir -p "$root/tmp/debs"
    # With the tree's own apt: the donors' release must be the tree's, whatever the building machine runs.
    # shellcheck disable=SC2046
    chroot "$root" sh -c 'cd /tmp/debs && apt-get download -q "$@"' sh $("$here/rpms.py" donors)
    echo "I: making RPMs"
    "$here/rpms.py" build "$root/tmp/debs" "$root/srv/el9repo"
    rm -r "$root/tmp/debs"
}

# On EL9 /usr/bin/python3 is the platform's Python and python3.11 a package: the platform's moves out of that package's way.
move_platform_python() {
    local platform=$root/usr/lib/platform
    mkdir -p "$platform/bin" "$platform/lib" "$root/usr/libexec"
    mv "$root/usr/bin/python3.11" "$platform/bin/python3"
    mv "$root/usr/lib/python3.11" "$root/usr/lib/python3" "$platform/lib/"
    # Not a link: a Python that is started under another name (as by mitogen) would not find its library through it.
    printf '#!/bin/sh\nexec /usr/lib/platform/bin/python3 "$@"\n' >"$root/usr/bin/python3.wrapper"
    chmod 0755 "$root/usr/bin/python3.wrapper"
    mv -f "$root/usr/bin/python3.wrapper" "$root/usr/bin/python3"
    ln -sfn ../bin/python3 "$root/usr/libexec/platform-python"
}

remove_debian_identity() {
    local user
    rm -f "$root"/etc/os-release "$root"/usr/lib/os-release "$root"/etc/debian_version "$root"/etc/issue "$root"/etc/issue.net
    rm -rf "$root"/etc/dpkg "$root"/etc/lsb-release
    for user in games man news uucp proxy www-data backup list irc gnats _apt; do
        sed -i "/^$user:/d" "$root"/etc/{passwd,shadow,group,gshadow}
        # Or systemd would make it anew at boot.
        sed -i -E "/^[ug] +$user /d" "$root/usr/lib/sysusers.d/basic.conf"
    done
}

set_up_like_el9() {
    mkdir -p "$root"/etc/{rpm,dnf,sysconfig,yum.repos.d,pki/tls/certs,pki/tls/private} "$root/usr/lib/systemd/system-preset"
    cp -r --no-preserve=mode,ownership "$here/host/." "$root/"
    ln -sfn /etc/ssl/certs/ca-certificates.crt "$root/etc/pki/tls/certs/ca-bundle.crt"
    ln -sfn dnf-3 "$root/usr/bin/yum"
    [ -e "$root/usr/bin/dnf-3" ] || { mv "$root/usr/bin/dnf" "$root/usr/bin/dnf-3" && ln -s dnf-3 "$root/usr/bin/dnf"; }
    mv "$root/lib/systemd/system/ssh.service" "$root/lib/systemd/system/sshd.service"
    sed -i '/^Alias=/d' "$root/lib/systemd/system/sshd.service"
    rm -f "$root"/etc/systemd/system/sshd.service "$root"/etc/systemd/system/multi-user.target.wants/ssh.service "$root"/lib/systemd/system/ssh.socket
    ln -s /lib/systemd/system/sshd.service "$root/etc/systemd/system/multi-user.target.wants/sshd.service"
    echo "I: installing the base RPMs"
    # shellcheck disable=SC2046
    chroot "$root" dnf -y -q --releasever=9 install $("$here/rpms.py" base)
    rm -rf "$root"/var/cache/dnf/* "$root"/var/log/dnf*
}

# Nothing of Debian's package management stays for Ansible or a person to find, nor programs that RPMs bring.
seal() {
    rm -f "$root"/usr/bin/openssl "$root"/etc/mime.types
    rm -rf "$root"/usr/bin/apt* "$root"/usr/bin/dpkg* "$root"/usr/sbin/dpkg* "$root"/usr/lib/apt "$root"/usr/lib/dpkg "$root"/etc/apt \
        "$root"/var/lib/dpkg "$root"/var/lib/apt "$root"/var/cache/apt "$root"/var/cache/debconf "$root"/var/log/apt "$root"/var/log/dpkg.log \
        "$root"/usr/share/perl* "$root"/usr/lib/*/perl* "$root"/usr/share/doc "$root"/usr/share/man "$root"/usr/share/locale
    rm -f "$root"/lib/systemd/system/{apt-daily*,dpkg-db-backup*,e2scrub*} "$root"/etc/cron.*/* "$root"/etc/logrotate.d/* \
        "$root"/etc/systemd/system/*.target.wants/{apt-*,dpkg-*,e2scrub*,getty@*,systemd-pstore*}
    # systemd would start these beside the units of the same programs.
    rm -rf "$root"/etc/init.d "$root"/etc/rc?.d
    rm -rf "$root"/tmp/* "$root"/var/tmp/*
}

build_repository
move_platform_python
remove_debian_identity
set_up_like_el9
seal
