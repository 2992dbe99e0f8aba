#!/bin/sh
# dist.sh TARGET ...: makes an archive for each TARGET in target/dist: iperf3-exporter-VERSION-ARCH.tar.gz with the
# static binary, unit, contrib (documentation, man page, completions), README, CHANGELOG, licences and SBOM. The SBOM is
# also beside it, and SHA256SUMS covers all of them. Prints their paths and sizes. The same commit makes the same bytes
# in every folder, with the same rustc, clang, tar and gzip.
set -eu

export LC_ALL=C # SHA256SUMS in the same order everywhere

readonly name=iperf3-exporter

main() {
    [ $# -gt 0 ] || { echo "usage: dist.sh TARGET ..." >&2; exit 2; }
    cd "$(dirname "$0")/../.."
    umask 022
    unset BIN # one binary for every target would be wrong
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    epoch=$(sh contrib/packaging/epoch.sh)
    export SOURCE_DATE_EPOCH="$epoch"
    mkdir -p "${CARGO_TARGET_DIR:-target}"
    dist=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)/dist
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    mkdir "$dir/dist"
    for target in "$@"; do
        archive "$target"
    done
    cd "$dir/dist"
    sha256sum -- *.tar.gz *.cdx.json >SHA256SUMS
    # Only now: a failed run, or a second one at the same time, leaves a complete release there.
    rm -rf "$dist"
    cp -R . "$dist"
    wc -c "$dist"/*
}

# x86_64-unknown-linux-musl → x86_64
archive() {
    top=$name-$version-${1%%-*}
    sh contrib/packaging/stage.sh "$1" "$dir/stage"
    mkdir "$dir/$top"
    cp -R contrib README.md CHANGELOG.md LICENSE "$name.service" "$dir/stage/share/." "$dir/$top"
    # These parts make a release or need a checkout.
    rm -rf "$dir/$top/contrib/packaging" "$dir/$top/contrib/demo"
    cp "$dir/stage/usr/bin/$name" "$dir/$top/"
    find "$dir/$top" -type d -exec chmod 755 {} +
    find "$dir/$top" -type f -exec chmod 644 {} +
    # Executable files: the binary and scripts.
    find "$dir/$top/contrib" -type f -exec grep -lIE '^#!' {} + | while IFS= read -r file; do
        case $(head -n 1 "$file") in '#!'*) chmod 755 "$file" ;; esac
    done
    chmod 755 "$dir/$top/$name"
    tar -C "$dir" --format=ustar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        -cf "$dir/$top.tar" "$top"
    # -n: no name and no time in the header.
    gzip -9n <"$dir/$top.tar" >"$dir/dist/$top.tar.gz"
    cp "$dir/stage/share/sbom.cdx.json" "$dir/dist/$top.cdx.json"
    rm -rf "$dir/stage" "${dir:?}/$top" "$dir/$top.tar"
}

main "$@"
