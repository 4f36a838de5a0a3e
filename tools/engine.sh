#!/usr/bin/env bash
# Make sure that a container engine answers: use the running docker, else (as root) install Debian's and start it.
set -euo pipefail

cd "$(dirname "$0")/.."
log=.cache/engine.log
wait_seconds=30

say() { echo "engine: $*" >&2; }
die() { say "error: $*"; exit 1; }

answers() { docker version >/dev/null 2>&1; }

install_engine() {
    command -v apt-get >/dev/null ||
        die "no docker engine on this machine and no apt-get to install one. Install docker, start it, and run this again."
    say "no docker engine here: installing Debian's docker.io with apt-get (log: $log)"
    if ! { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends docker.io; } >>"$log" 2>&1; then
        tail -n 5 "$log" >&2
        die "apt-get could not install docker.io; the whole output is in $PWD/$log"
    fi
}

start_engine() {
    if pidof dockerd >/dev/null; then
        say "dockerd runs but does not answer yet: waiting for it"
    elif [ "$(cat /proc/1/comm)" = systemd ]; then
        say "starting docker.service with systemd"
        systemctl start docker.service || die "docker.service does not start; see: journalctl -u docker.service"
    else
        say "PID 1 is not systemd: starting dockerd by hand, detached (log: $log)"
        # What an engine that was killed left behind would keep the new one from starting.
        rm -f /var/run/docker.pid /run/docker/containerd/containerd.pid
        # A session of its own, and no inherited lock, so that it outlives the shell or make that asked for it.
        setsid nohup dockerd >>"$log" 2>&1 </dev/null 9>&- &
    fi
}

mkdir -p .cache
answers && exit 0
[ "$(id -u)" -eq 0 ] ||
    die "no docker engine answers, and only root may install and start one. Start docker (and join its group), or run this as root."

# Two runs at once must not start two engines.
exec 9>.cache/engine.lock
flock 9
answers && exit 0
command -v dockerd >/dev/null || install_engine
answers || start_engine
for ((i = 0; i < wait_seconds * 5; i++)); do
    if answers; then
        say "docker $(docker version --format '{{.Server.Version}}') is running"
        exit 0
    fi
    sleep 0.2
done
tail -n 5 "$log" >&2
die "dockerd does not answer after ${wait_seconds} s; its output is in $PWD/$log"
