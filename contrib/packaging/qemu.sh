#!/bin/sh
# qemu.sh TARGET ...: builds the static binary for each TARGET and runs it through smoke.sh, with qemu's user mode for
# another processor. BIN=path uses an existing binary, for a single TARGET.
set -eu

[ $# -gt 0 ] || { echo "usage: qemu.sh TARGET ..." >&2; exit 2; }
cd "$(dirname "$0")/../.."

for target in "$@"; do
    case $target in
        "$(uname -m)"-*) runner='' ;;
        armv7-* | arm-*) runner=qemu-arm ;;
        *) runner=qemu-${target%%-*} ;;
    esac
    [ -z "$runner" ] || sh contrib/packaging/need.sh "$runner"
    binary=${BIN:-${CARGO_TARGET_DIR:-target}/$target/release/iperf3-exporter}
    [ -n "${BIN:-}" ] || sh contrib/packaging/static.sh "$target"
    echo "$target${runner:+ by $runner}:"
    sh contrib/packaging/smoke.sh "$binary" "$runner"
done
