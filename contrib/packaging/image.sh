#!/bin/sh
# image.sh TARGET: makes the container image of contrib/Dockerfile with the static binary for TARGET, and prints its
# name. Its labels have the version, the commit, and the project's repository, if it is published (repository.sh).
#     IMAGE=name        instead of iperf3-exporter
#     BASE=image        instead of the Dockerfile's base
#     BIN=path          an existing binary, instead of building one
set -eu

readonly name=iperf3-exporter

main() {
    target=${1:-}
    [ -n "$target" ] || { echo "usage: image.sh TARGET" >&2; exit 2; }
    cd "$(dirname "$0")/../.."
    command -v docker >/dev/null 2>&1 || give_up "no docker here"
    binary=${BIN:-${CARGO_TARGET_DIR:-target}/$target/release/$name}
    [ -n "${BIN:-}" ] || sh contrib/packaging/static.sh "$target" >&2
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    # A build context like the checkout, wherever cargo's target folder is.
    place=target/$target/release/$name
    mkdir -p "$dir/$(dirname "$place")"
    cp .dockerignore "$dir"
    cp "$binary" "$dir/$place"
    chmod 755 "$dir/$place"

    image=${IMAGE:-$name}
    set -- --tag "$image" --build-arg "BINARY=$place" --build-arg "VERSION=$(version)"
    [ -z "${BASE:-}" ] || set -- "$@" --build-arg "BASE=$BASE"
    platform=$(platform)
    [ -z "$platform" ] || set -- "$@" --platform "$platform"
    commit=$(commit)
    [ -z "$commit" ] || set -- "$@" --label "org.opencontainers.image.revision=$commit"
    repository=$(sh contrib/packaging/repository.sh)
    [ -z "$repository" ] || set -- "$@" --label "org.opencontainers.image.source=$repository" \
        --label "org.opencontainers.image.url=$repository"
    docker build --file contrib/Dockerfile "$@" "$dir" >&2 || give_up "docker build failed"
    echo "$image"
}

give_up() {
    echo "image.sh: $1" >&2
    exit 1
}

version() {
    sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1
}

# Empty in an archive, and for a checkout with changes that are in no commit.
commit() {
    [ -e .git ] && git diff --quiet HEAD 2>/dev/null && git rev-parse HEAD
    return 0
}

# Docker's name for another machine's processor. Empty for this one's, so that the base may be an image that was made
# here.
platform() {
    case $target in
        "$(uname -m)"-*) ;;
        x86_64-*) echo linux/amd64 ;;
        aarch64-*) echo linux/arm64 ;;
        armv7-*) echo linux/arm/v7 ;;
        i686-*) echo linux/386 ;;
        *) give_up "no name of Docker's for $target" ;;
    esac
}

main "$@"
