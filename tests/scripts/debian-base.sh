#!/bin/sh
# debian-base.sh FILE PACKAGE,...: makes FILE, a tar archive of a Debian with the essential packages and these (or none:
# ''), with debootstrap from the mirror that the system's apt uses. An existing FILE is left alone. When it fails, the
# last line states the reason.
set -eu

readonly suite=bookworm

main() {
    archive=$1 packages=$2
    cd "$(dirname "$0")/../.."
    [ ! -s "$archive" ] || exit 0
    [ "$(id -u)" -eq 0 ] || fail "debootstrap needs root"
    # CI has root and a package manager; on a developer's machine the owner decides what is installed.
    [ -z "${CI:-}" ] || sh contrib/packaging/need.sh debootstrap || fail "debootstrap is needed in CI"
    command -v debootstrap >/dev/null 2>&1 || fail "no debootstrap here"
    mirror=$(sh tests/scripts/debian-mirror.sh 2>&1) || fail "$mirror"

    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    mkdir "$dir/root"
    # In a file system in memory, because dpkg syncs the disk at each step: 45 s instead of 100. The mount disappears
    # with its namespace.
    # shellcheck disable=SC2016
    unshare --mount sh -euc '
        mount -t tmpfs -o dev,exec,suid none "$1"
        debootstrap --variant=minbase ${2:+"--include=$2"} "$3" "$1/base" "$4"
        rm -rf "$1"/base/var/cache/apt/archives/*.deb "$1"/base/var/lib/apt/lists/*
        tar -C "$1/base" -cf "$5" .
    ' sh "$dir/root" "$packages" "$suite" "$mirror" "$dir/base.tar" >"$dir/said" 2>&1 ||
        fail "debootstrap failed: $(tail -n 1 "$dir/said")"
    # The archive appears only when it is complete.
    mkdir -p "$(dirname "$archive")"
    cp "$dir/base.tar" "$archive.$$"
    mv "$archive.$$" "$archive"
}

fail() {
    echo "$1"
    exit 1
}

main "$@"
