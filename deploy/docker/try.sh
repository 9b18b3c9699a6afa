#!/bin/sh
# Builds every image and runs the compose file's service part where no registry of images is reachable. By hand, as root:
#   apt-get install docker.io docker-compose debootstrap iptables
#   sh deploy/docker/try.sh [FOLDER]     (left there for a second run; STORAGE_DRIVER=vfs where overlay2 does not work)
# An engine of its own on a private socket; a base image from Debian packages; real servers of deploy/native on loopback,
# so the containers share the host's network (try.yml); then one document and one question through them.
set -eu
cd "$(dirname "$0")/../.."
work=${1:-/var/tmp/headrace-try}
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
mkdir -p "$work"
export DOCKER_HOST="unix://$work/docker.sock" DOCKER_BUILDKIT=0 COMPOSE_PROJECT_NAME=headrace-try COMPOSE_PROFILES=core,cli
services="moderate ingest embed retrieve generate meter audit"

say() { printf '\n== %s\n' "$*"; }

say "engine"
dockerd --data-root "$work/engine" --exec-root "$work/exec" --pidfile "$work/dockerd.pid" --host "$DOCKER_HOST" \
    --bridge none --iptables=false --storage-driver "${STORAGE_DRIVER:-overlay2}" >"$work/dockerd.log" 2>&1 &
engine=$!
trap 'kill $engine; wait $engine || true' EXIT
until docker version >/dev/null 2>&1; do kill -0 $engine; sleep 1; done
docker info --format 'docker {{.ServerVersion}}, {{.Driver}}'

if ! docker image inspect headrace-base:bookworm >/dev/null 2>&1; then
    say "base image: Debian 12 with its Python, from $mirror"
    debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates bookworm "$work/base" "$mirror" \
        >"$work/debootstrap.log"
    # Whom this machine trusts, the build must: package indexes may be mirrors behind a certificate of one's own.
    cp "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$work/base/etc/ssl/certs/ca-certificates.crt"
    tar -C "$work/base" -c . | docker import --change 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' \
        --change 'ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt' - headrace-base:bookworm
fi

say "images"
for service in $services headrace; do
    extra=$(grep -q '^cpu = ' "services/$service/pyproject.toml" && echo cpu || true)
    docker build -q --network host -f deploy/docker/Dockerfile -t "headrace/$service:0.1.0" \
        --build-arg BASE=headrace-base:bookworm --build-arg "SERVICE=$service" --build-arg "EXTRA=$extra" . >"$work/build.log" 2>&1 || { tail -20 "$work/build.log"; exit 1; }
    docker image ls --format '{{.Repository}}:{{.Tag}} {{.Size}}' "headrace/$service"
done

say "servers and services"
.venv/bin/headrace models pull 2>/dev/null
export HEADRACE_TRY_MODELS="$work/cache"
mkdir -p "$work/cache" && cp -rT "${HEADRACE_CACHE_DIR:-$HOME/.cache/headrace}/models" "$work/cache/models"
chmod -R a+rX "$work/cache"
.venv/bin/python -m headrace_native run --with kafka,postgres,weaviate,s3 -- sh deploy/docker/try_question.sh $services
