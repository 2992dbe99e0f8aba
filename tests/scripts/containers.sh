#!/bin/sh
# containers.sh: shared by boot.sh, compose.sh and docker.sh. They source it, and define `skip` and `fail`, which end
# the script.

readonly step_s=0.2
readonly wait_steps=900 # 180 s: far longer than any state takes on a busy machine

need_engine() {
    command -v docker >/dev/null 2>&1 || skip "no docker here"
    docker info >/dev/null 2>&1 || skip "no Docker engine answers (docker info)"
}

# CI has a mirror of Debian; elsewhere a machine may be offline.
skip_or_fail() {
    [ -n "${CI:-}" ] || skip "$1"
    fail "$1"
}

# Blocks until the command succeeds.
wait_until() {
    step=0
    until "$@"; do
        step=$((step + 1))
        [ "$step" -le "$wait_steps" ] || return 1
        sleep "$step_s"
    done
}
