#!/bin/sh
# An image's entry point: the service, or the command, that the image was built for, with the container's arguments.
# A replica's instance is its host name: a container that is restarted comes back as the same member of its consumer groups.
export HEADRACE_KAFKA__INSTANCE="${HEADRACE_KAFKA__INSTANCE-$HOSTNAME}"
read -r service <"$(dirname "$0")/../service"
case "$service" in
    headrace) exec headrace "$@" ;;
    *) exec python -m "headrace_$service" "$@" ;;
esac
