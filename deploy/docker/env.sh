#!/bin/sh
# Prints a .env for docker-compose.yml with secrets of its own: sh deploy/docker/env.sh > .env && chmod 600 .env
set -eu
secret() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }
postgres=$(secret)
cat <<END
COMPOSE_PROFILES=core,observability
HEADRACE_POSTGRES_PASSWORD=$postgres
HEADRACE_SQL_URL=postgresql+asyncpg://headrace:$postgres@postgres:5432/headrace
HEADRACE_S3_SECRET=$(secret)
HEADRACE_AUDIT_SIGNING_KEY=$(secret)$(secret)
HEADRACE_GRAFANA_PASSWORD=$(secret)
HEADRACE_OTLP_ENDPOINT=http://jaeger:4317
END
