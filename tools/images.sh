#!/usr/bin/env bash
# Build both images, also where no container registry can be reached and no engine runs: make images.
#
# Needs buildah and, to make the base images, mmdebstrap (apt-get install buildah mmdebstrap). Debian's Python 3.11 takes
# the place of python:3.11-slim: one image to build in, a smaller one to run. Where a registry is reachable:
#   BASE=docker.io/library/python:3.11-slim RUNTIME=docker.io/library/python:3.11-slim tools/images.sh
# While building, pip takes this machine's certificates and settings (PIP_CONFIG_FILE, or /etc/pip.conf), so that a
# company's own package mirror is found and believed; the images hold neither. MIRROR is Debian's, if not the usual one.
set -euo pipefail
cd "$(dirname "$0")/.."
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot} STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}
BASE=${BASE:-localhost/python-build:3.11}
RUNTIME=${RUNTIME:-localhost/python-run:3.11}

base_image() { # NAME PACKAGES
    buildah inspect --type image "$1" >/dev/null 2>&1 && return
    echo "making $1 of Debian's packages" >&2
    local archive container
    archive=$(mktemp -u).tar
    mmdebstrap --quiet --variant=minbase --include="$2" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$archive" ${MIRROR:+"$MIRROR"}
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$archive" / >/dev/null
    buildah commit --quiet --rm "$container" "$1" >/dev/null
    rm -f "$archive"
}

case $BASE in localhost/*) base_image "$BASE" python3,python3.11,python3.11-venv,python3-pip,ca-certificates ;; esac
case $RUNTIME in localhost/*) base_image "$RUNTIME" python3,python3.11,ca-certificates ;; esac
certificates=/etc/ssl/certs/ca-certificates.crt
settings=${PIP_CONFIG_FILE:-/etc/pip.conf}
secret=()
[ ! -f "$settings" ] || secret=(--secret "id=pip,src=$settings")
for file in ${IMAGES:-Dockerfile.station Dockerfile}; do
    name=wafer_tf; [ "$file" = Dockerfile ] || name=wafer_station
    buildah build --format docker --build-arg BASE="$BASE" --build-arg RUNTIME="$RUNTIME" \
        ${TENSORFLOW:+--build-arg TENSORFLOW="$TENSORFLOW"} \
        "${secret[@]}" --volume "$certificates:$certificates:ro" --build-arg PIP_CERT="$certificates" \
        --file "$file" --tag "$name" .
done
buildah images
