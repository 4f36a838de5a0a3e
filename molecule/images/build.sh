#!/usr/bin/env bash
# Build a node image unless one made from the same inputs exists, and print its tag.
# usage: build.sh el9 | el9-double | el9-reference | debian12 | database
#   el9            el9-reference if NODE_IMAGE is set, else el9-double
#   el9-reference  the image named by NODE_IMAGE with what a node has that a container image lacks
set -euo pipefail
umask 022

here=$(cd "$(dirname "$0")" && pwd)
repository=panda-provision
build_tools=(mmdebstrap rpm createrepo-c python3-yaml debian-archive-keyring)

say() { echo "image: $*" >&2; }
die() { say "error: $*"; exit 1; }

image=${1:-}
if [ "$image" = el9 ]; then
    if [ -n "${NODE_IMAGE:-}" ]; then image=el9-reference; else image=el9-double; fi
fi
case $image in
    el9-double | debian12 | database) ;;
    el9-reference) [ -n "${NODE_IMAGE:-}" ] || die "el9-reference needs NODE_IMAGE, for example NODE_IMAGE=docker.io/library/almalinux:9" ;;
    *) die "no such image: '${image}'. One of: el9, el9-double, el9-reference, debian12, database" ;;
esac

inputs_hash() {
    {
        if [ "$image" = el9-reference ]; then echo "$NODE_IMAGE"; fi
        cd "$here"
        # Names, links and executable bits count; dates, owners and the umask of the checkout do not.
        find build.sh boot-in-container.sh "$image" \( -type f -executable -printf '%p executable\n' \) -o -printf '%p %l\n' | sort
        find build.sh boot-in-container.sh "$image" -type f -print0 | sort -z | xargs -0 cat
    } | sha256sum | cut -c -12
}

install_build_tools() {
    local missing=() tool
    for tool in "${build_tools[@]}"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$tool" 2>/dev/null | grep -q '^ii' || missing+=("$tool")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing what building needs: ${missing[*]}"
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1 ||
        { tail -n 5 "$log" >&2; die "apt-get could not install ${missing[*]}; the whole output is in $log"; }
}

make_work_folder() {
    work=$(mktemp -d)
    trap 'umount "$work" 2>/dev/null || true; rm -rf "$work"' EXIT
    # Unpacking thousands of files takes half the time in memory. Where that is scarce or not allowed, the disk does too.
    if [ "$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo)" -gt 4000000 ]; then
        mount -t tmpfs -o size=3g,mode=755 panda-provision-image "$work" 2>/dev/null || true
    fi
}

build_from_packages() {
    [ "$(id -u)" -eq 0 ] || die "building $image unpacks Debian packages and needs root; run this once as root, later runs find the image"
    command -v apt-get >/dev/null || die "$image can be built on Debian or Ubuntu only; elsewhere set NODE_IMAGE to an image from a registry"
    install_build_tools
    # The tree is written to a file, not piped, so that a build that fails half way imports nothing.
    # The lines that begin with "I:" are mmdebstrap's steps.
    TMPDIR=$work "$here/$image/rootfs.sh" "$work/rootfs.tar" 2>&1 | tee "$log" | sed -u -n 's/^I: \(downloading\|extracting\|installing\|running\|making\|creating\)/image:   \1/p' >&2 ||
        { tail -n 15 "$log" >&2; die "$image was not built; the whole output is in $log"; }
    docker import --change "LABEL $repository=$image" --change "ENV container=docker" --change 'CMD ["/sbin/init"]' \
        "$work/rootfs.tar" "$tag" >/dev/null
}

build_from_reference() {
    DOCKER_BUILDKIT=0 docker build --quiet --build-arg "NODE_IMAGE=$NODE_IMAGE" --label "$repository=$image" --tag "$tag" "$here/$image" >"$log" 2>&1 ||
        { tail -n 15 "$log" >&2; die "$image was not built from $NODE_IMAGE; the whole output is in $log"; }
}

remove_stale() {
    # One that a container still uses stays; the run after that container's end removes it.
    docker image ls --format '{{.Repository}}:{{.Tag}}' "$repository/$image" | grep -Fxv "$tag" | xargs --no-run-if-empty docker image rm >/dev/null 2>&1 || true
}

"$here/../../tools/engine.sh"
cache=$here/../../.cache/images
mkdir -p "$cache"
cache=$(cd "$cache" && pwd)
log=$cache/$image.log
tag=$repository/$image:$(inputs_hash)

# Two runs at once build an image once.
exec 8>"$cache/$image.lock"
flock 8
if ! docker image inspect "$tag" >/dev/null 2>&1; then
    say "building $tag (log: $log)"
    make_work_folder
    if [ "$image" = el9-reference ]; then build_from_reference; else build_from_packages; fi
    say "built $tag in ${SECONDS} s"
    remove_stale
fi
echo "$tag"
