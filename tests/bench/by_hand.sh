#!/usr/bin/env bash
# What site.yml does to a bare EL9 node, done by hand over ssh: the measure for `make bench`.
# by_hand.sh ADDRESS WHEELHOUSE FILES: the archive of a release, and a tar of the configuration and
# certificates, with owners and modes, as the roles wrote them.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly address=$1 wheelhouse=$2 files=$3
release=$(tar --extract --to-stdout --file "$wheelhouse" release.json |
    sed -E 's/.*"name": "([^"]+)".*/\1/')

on_node() { ssh -F .cache/ssh/config "$address" "$@"; }

on_node 'cat >/var/tmp/wheelhouse.tar' <"$wheelhouse"
on_node 'cat >/var/tmp/files.tar' <"$files"
on_node bash -s "$release" <<'NODE'
set -euo pipefail
readonly release=/opt/panda.releases/$1

groupadd --system zp
useradd --system --gid zp --home-dir /data/atlpan --no-create-home --shell /sbin/nologin atlpan
dnf --quiet --assumeyes install httpd mod_ssl mailcap python3.11 python3.11-pip firewalld squid logrotate

mkdir --parents /opt/panda.releases /var/tmp/wheels
tar --extract --file /var/tmp/wheelhouse.tar --directory /var/tmp/wheels
python3.11 -m venv --without-pip "$release"
python3.11 -m pip --python "$release/bin/python" install --quiet --no-index --find-links /var/tmp/wheels \
    --require-hashes --no-deps --no-cache-dir --disable-pip-version-check --root-user-action ignore \
    --requirement /var/tmp/wheels/requirements.txt

install --directory --owner atlpan --group zp /data/atlpan /var/log/panda /var/log/panda/pandacache \
    /var/cache/pandaserver /var/cache/pandaserver/schedconfig
install --directory --owner atlpan --group zp --mode 0750 /var/lib/panda
install --directory /var/trf/user /var/cric /run/panda_httpd
tar --extract --preserve-permissions --file /var/tmp/files.tar --directory /

as_service() {
    systemd-run --quiet --pipe --wait --collect --property=User=atlpan \
        --property=EnvironmentFile=/etc/sysconfig/panda_server_env "$@"
}
as_service "$release/bin/panda-node" config check
as_service /usr/sbin/httpd -t -f /etc/panda/panda_server-httpd.conf
squid -k parse -f /etc/squid/squid.conf 2>/dev/null
firewall-offline-cmd --check-config >/dev/null
logrotate -d /etc/logrotate.d/panda_server 2>/dev/null

as_service "$release/bin/panda-node" schema upgrade
ln --symbolic "panda.releases/$1" /opt/panda
systemctl daemon-reload
systemctl restart systemd-sysctl.service
systemctl --quiet enable --now firewalld.service panda.service panda_httpd.service panda_wsgi.socket \
    panda_wsgi.service panda_daemon.service squid.service logrotate.timer
rm -rf /var/tmp/wheelhouse.tar /var/tmp/files.tar /var/tmp/wheels

alive() {
    curl --silent --fail http://127.0.0.1:25080/server/panda/isAlive | grep --quiet alive=yes &&
        curl --silent --fail --insecure https://127.0.0.1:25443/server/panda/isAlive | grep --quiet alive=yes &&
        curl --silent --fail http://127.0.0.1:25080/api/v1/system/is_alive >/dev/null &&
        curl --silent --head http://127.0.0.1:25085/cache/schedconfig/ | grep --quiet --ignore-case '^x-cache:'
}
for ((attempt = 0; attempt < 100; attempt++)); do
    if alive; then exit 0; fi
    sleep 0.3
done
echo "not alive after 30 s" >&2
exit 1
NODE
