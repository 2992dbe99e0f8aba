#!/bin/sh
# reproducible.sh TARGET ...: checks that two people make the same release of HEAD. It runs dist.sh in two clones, in
# folders of different names and depth, one with a blank, and with different CARGO_HOME, target folder and umask. It
# builds everything twice: minutes per TARGET.
set -eu

dir=''

main() {
    [ $# -gt 0 ] || { echo "usage: reproducible.sh TARGET ..." >&2; exit 2; }
    cd "$(dirname "$0")/../.."
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    git clone --quiet . "$dir/one"
    git clone --quiet . "$dir/two/with a blank"
    # Both use the same downloads, but in different folders.
    mkdir "$dir/home"
    cp -R "${CARGO_HOME:-$HOME/.cargo}/registry" "$dir/home/"
    (cd "$dir/one" && CARGO_TARGET_DIR="$dir/one/target" sh contrib/packaging/dist.sh "$@")
    (
        umask 077
        export CARGO_HOME="$dir/home" CARGO_TARGET_DIR="$dir/the other target"
        cd "$dir/two/with a blank"
        sh contrib/packaging/dist.sh "$@" >/dev/null
    )
    cmp "$dir/one/target/dist/SHA256SUMS" "$dir/the other target/dist/SHA256SUMS" || {
        cat "$dir/one/target/dist/SHA256SUMS" "$dir/the other target/dist/SHA256SUMS" >&2
        echo "reproducible.sh: the two are not the same" >&2
        exit 1
    }
    cat "$dir/one/target/dist/SHA256SUMS"
    echo "the same bytes twice"
}

main "$@"
