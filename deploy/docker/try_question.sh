#!/bin/sh
# What try.sh runs while the servers of deploy/native are up: topics, services, a document, a question.
set -eu
export HEADRACE_KAFKA_BOOTSTRAP="$HEADRACE_KAFKA__BOOTSTRAP" HEADRACE_SQL_URL="$HEADRACE_SQL__URL" \
    HEADRACE_STORE_URL="$HEADRACE_RETRIEVE__STORE_URL" HEADRACE_S3_ENDPOINT="$HEADRACE_BLOBS__ENDPOINT" \
    HEADRACE_S3_SECRET="$HEADRACE_BLOBS__SECRET_ACCESS_KEY" HEADRACE_POSTGRES_PASSWORD=unused HEADRACE_GRAFANA_PASSWORD=unused \
    HEADRACE_AUDIT_SIGNING_KEY="$(printf %064d 7)"
compose() { docker-compose -f docker-compose.yml -f deploy/docker/try.yml "$@"; }
healthy() { docker inspect --format '{{.State.Health.Status}}' $(compose ps -q "$@") | sort | uniq -c | tr -s '\n ' ' '; }
trap 'compose logs --no-color >"$HEADRACE_TRY_MODELS/../services.log" 2>&1; compose down -t 30 >/dev/null 2>&1' EXIT

compose run --rm --no-deps topics
compose up -d --no-deps "$@"
tries=0
until [ "$(healthy "$@")" = " $# healthy " ]; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || { healthy "$@"; compose ps; exit 1; }
    sleep 5
done
echo "healthy: $*"
docker ps --format '{{.Names}} {{.Status}}'
docker inspect --format '{{.Name}} user={{.Config.User}} read-only={{.HostConfig.ReadonlyRootfs}} drop={{.HostConfig.CapDrop}} memory={{.HostConfig.Memory}}' \
    $(compose ps -q "$@")
compose run --rm --no-deps -v "$PWD/docs:/docs:ro" cli ingest /docs --wait
compose run --rm --no-deps cli ask "What may an offset be committed after?"
compose run --rm --no-deps cli costs
compose run --rm --no-deps cli audit verify
