#!/bin/sh
# release-check.sh TARGET ...: makes a release for each TARGET as `make dist` does, and checks it. A second run makes
# the same archives, SHA256SUMS matches, an archive is complete, and each binary works (smoke.sh; with qemu for another
# processor). For this machine's own architecture the packages are also made, installed, upgraded and removed
# (packages-check.sh). Takes a minute of one processor per TARGET. reproducible.sh checks that two folders make the same
# bytes; it builds everything twice.
set -eu

readonly name=iperf3-exporter

dir=''

main() {
    [ $# -gt 0 ] || { echo "usage: release-check.sh TARGET ..." >&2; exit 2; }
    cd "$(dirname "$0")/../.."
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    dist=${CARGO_TARGET_DIR:-target}/dist

    # A target without an available standard library is left out with a message. This machine's own target must not be:
    # a check without any binary would look like a success.
    command -v cargo >/dev/null 2>&1 || fail "no cargo here: see https://rustup.rs"
    targets=
    for target in "$@"; do
        if sh contrib/packaging/toolchain.sh "$target" >/dev/null; then
            targets="$targets $target"
        else
            case $target in
                "$(uname -m)"-*) fail "$target is this machine's own, and cannot be built" ;;
            esac
            echo "SKIPPED: $target: its standard library is not available here"
        fi
    done
    # shellcheck disable=SC2086 # several words
    set -- $targets
    [ $# -gt 0 ] || fail "none of the targets can be built here"

    sh contrib/packaging/dist.sh "$@"
    cp "$dist/SHA256SUMS" "$dir/first"
    sh contrib/packaging/dist.sh "$@" >/dev/null
    cmp "$dir/first" "$dist/SHA256SUMS" || fail "a second run makes different archives"
    (cd "$dist" && sha256sum --check --quiet SHA256SUMS) || fail "SHA256SUMS does not fit"
    for target in "$@"; do
        look_into "$target"
        BIN=$dir/$top/$name sh contrib/packaging/qemu.sh "$target"
    done
    for target in "$@"; do
        case $target in
            "$(uname -m)"-*)
                sh contrib/packaging/stage.sh "$target" "$dir/stage"
                sh contrib/packaging/packages-check.sh "$dir/stage" "$target"
                ;;
        esac
    done
}

# Unpacks the archive for $1, and sets $top to the name of its top folder.
look_into() {
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    top=$name-$version-${1%%-*}
    tar -C "$dir" -xzf "$dist/$top.tar.gz"
    for file in $name $name.service LICENSE THIRD-PARTY-LICENCES RUST-STANDARD-LIBRARY.html README.md CHANGELOG.md \
        sbom.cdx.json contrib/docs/install.md contrib/recording-rules.yml contrib/web.yml; do
        [ -s "$dir/$top/$file" ] || fail "$top.tar.gz lacks $file"
    done
    cmp "$dir/$top/sbom.cdx.json" "$dist/$top.cdx.json" || fail "the SBOM beside $top.tar.gz is different"
    sum=$(sha256sum <"$dir/$top/$name")
    grep -q "${sum%% *}" "$dist/$top.cdx.json" || fail "the SBOM of $top is one of another binary"
    # All files have one time, and no user's name.
    tar -tvzf "$dist/$top.tar.gz" --numeric-owner --full-time | awk '{ print $2, $4, $5 }' | sort -u >"$dir/owners"
    [ "$(wc -l <"$dir/owners")" -eq 1 ] || { cat "$dir/owners" >&2; fail "$top.tar.gz has several times or owners"; }
    grep -q '^0/0 ' "$dir/owners" || fail "$top.tar.gz is not root's"
}

fail() {
    echo "release-check.sh: $1" >&2
    exit 1
}

main "$@"
