#!/bin/sh
# toolchain.sh TARGET: makes sure that there is a standard library for TARGET, and prints the name of rustup's toolchain
# that has it, for RUSTUP_TOOLCHAIN; nothing if it is the active one. rustup fetches the library if it is missing. A
# Rust release may lack it for a target, permanently or only on a mirror. Then the oldest supported Rust (rust-version
# in Cargo.toml) is used, which `make msrv` builds and tests.
set -eu

main() {
    target=${1:-}
    [ -n "$target" ] || { echo "usage: toolchain.sh TARGET" >&2; exit 2; }
    cd "$(dirname "$0")/../.."
    command -v rustc >/dev/null 2>&1 || give_up "no rustc here: see https://rustup.rs"
    # For an unknown target rustc prints no folder of libraries, but an error that names it.
    libraries=$(rustc --print target-libdir --target "$target") || give_up "rustc does not know $target"
    [ ! -d "$libraries" ] || exit 0
    command -v rustup >/dev/null 2>&1 ||
        give_up "the standard library for $target is not installed, and there is no rustup to fetch it: \
install your distribution's package of it, or rustup (https://rustup.rs)"
    if first=$(rustup target add "$target" 2>&1); then
        exit 0
    fi
    version=$(sed -n 's/^rust-version = "\([0-9.]*\)"/\1/p' Cargo.toml)
    # rustup needs three numbers.
    case $version in
        *.*.*) ;;
        *) version=$version.0 ;;
    esac
    if second=$(rustup toolchain install "$version" --profile minimal --no-self-update --target "$target" 2>&1); then
        echo "toolchain.sh: rustup has no standard library of $(rustc -V) for $target: taking Rust $version" >&2
        echo "$version"
        exit 0
    fi
    printf '%s\n%s\n' "$first" "$second" >&2
    give_up "rustup cannot fetch the standard library for $target (its output is above); STATIC_BUILD=command takes \
another way to build it"
}

give_up() {
    echo "toolchain.sh: $1" >&2
    exit 1
}

main "$@"
