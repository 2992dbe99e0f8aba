#!/bin/sh
# release-files.sh: collects the downloads of a release in target/release-files: the archives and SBOMs of `make dist`,
# the packages of `make deb` and `make rpm`, and SHA256SUMS over all of them. Prints their paths and sizes. Only files
# of this version: target/packages also has those of earlier versions.
set -eu

export LC_ALL=C # SHA256SUMS in the same order everywhere

readonly name=iperf3-exporter

main() {
    [ $# -eq 0 ] || { echo "usage: release-files.sh" >&2; exit 2; }
    cd "$(dirname "$0")/../.."
    umask 022
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    # The notation of packages.sh.
    package_version=$(echo "$version" | tr - '~')
    target=${CARGO_TARGET_DIR:-target}
    target=$(cd "$target" && pwd)
    dir=$(mktemp -d "$target/release-files.XXXXXX")
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    chmod 755 "$dir"
    take "make dist" "$target/dist/$name-$version"-*.tar.gz
    take "make dist" "$target/dist/$name-$version"-*.cdx.json
    take "make deb" "$target/packages/${name}_$package_version-"*.deb
    take "make rpm" "$target/packages/$name-$package_version-"*.rpm
    (cd "$dir" && sha256sum -- "$name"* >SHA256SUMS)
    rm -rf "$target/release-files"
    mv "$dir" "$target/release-files"
    wc -c "$target/release-files"/*
}

# take COMMAND FILE ...: copies the files that COMMAND makes, under names that a download does not change: GitHub
# replaces the ~ of a pre-release with a dot, and SHA256SUMS must have the same name.
take() {
    command=$1
    shift
    for file in "$@"; do
        [ -f "$file" ] || give_up "there is no $file: run $command first"
        cp "$file" "$dir/$(basename "$file" | tr '~' .)"
    done
}

give_up() {
    echo "release-files.sh: $1" >&2
    exit 1
}

main "$@"
