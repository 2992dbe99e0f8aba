#!/bin/sh
# static.sh TARGET: builds a release binary for TARGET that needs no shared library, and checks that it needs
# none. Prints its path and its size in bytes.
#     static.sh x86_64-unknown-linux-musl
#     static.sh aarch64-unknown-linux-musl
# Takes the first of these ways that it can:
#   1. STATIC_BUILD, when set: a command, split at blanks, that is called with TARGET as its last argument, in
#      the project's root, and leaves the binary where cargo would. For machines on which the others cannot work.
#   2. cargo alone, for the musl target of this machine's own architecture: rustc brings musl and all else that
#      linking takes. Crates that contain C need musl-gcc besides (Debian: musl-tools).
#   3. cargo with Rust's own linker, rust-lld, for each other target, as long as nothing contains C.
#   4. cargo zigbuild, when something does: zig is a C compiler and linker for all of them.
# For 2 to 4 the target's standard library is fetched with rustup when it is not there.
set -eu

readonly name=iperf3-exporter

main() {
    target=${1:-}
    [ -n "$target" ] || { echo "usage: static.sh TARGET" >&2; exit 2; }
    cd "$(dirname "$0")/../.."

    if [ -n "${STATIC_BUILD:-}" ]; then
        # shellcheck disable=SC2086 # a command and its arguments
        $STATIC_BUILD "$target" || give_up "STATIC_BUILD failed: $STATIC_BUILD $target"
    else
        build
    fi

    binary=${CARGO_TARGET_DIR:-target}/$target/release/$name
    [ -f "$binary" ] || give_up "the build left no $binary"
    size_bytes=$(wc -c <"$binary" | tr -d ' ')
    # On a line of its own: a failure inside echo's argument would not end the script.
    how=$(linkage) || exit 1
    echo "$binary: $size_bytes bytes, $how"
}

give_up() {
    echo "static.sh: $1" >&2
    exit 1
}

build() {
    command -v rustc >/dev/null 2>&1 || give_up "no rustc here: see https://rustup.rs"
    need_standard_library
    if cargo_suffices; then
        cargo build --release --target "$target" || give_up "cargo build failed for $target"
        return
    fi
    if ! has_c; then
        # Nothing to compile but Rust: the toolchain's own linker links for every target.
        word=$(echo "$target" | tr 'a-z-' 'A-Z_')
        env "CARGO_TARGET_${word}_LINKER=rust-lld" cargo build --release --target "$target" ||
            give_up "cargo build failed for $target"
        return
    fi
    cargo zigbuild --version >/dev/null 2>&1 ||
        give_up "cargo-zigbuild and zig are needed for $target: cargo install cargo-zigbuild; pip install ziglang"
    cargo zigbuild --release --target "$target" || give_up "cargo zigbuild failed for $target"
}

need_standard_library() {
    # A target that rustc does not know has no directory of libraries, and rustc says which word it was.
    libraries=$(rustc --print target-libdir --target "$target") || give_up "rustc does not know $target"
    [ ! -d "$libraries" ] || return 0
    command -v rustup >/dev/null 2>&1 ||
        give_up "the standard library for $target is not installed, and there is no rustup to fetch it: \
install your distribution's package of it, or rustup (https://rustup.rs)"
    rustup target add "$target" || give_up "rustup cannot fetch the standard library for $target (its words are \
above); STATIC_BUILD=command takes another way to build it"
}

# Whether cargo and rustc link $target here without help.
cargo_suffices() {
    host_arch=$(rustc -vV | sed -n 's/^host: \([^-]*\)-.*-linux-.*/\1/p')
    case $target in
        "$host_arch"-*-linux-musl*) ;;
        *) return 1 ;;
    esac
    if has_c; then
        command -v musl-gcc >/dev/null 2>&1 || command -v "$host_arch-linux-musl-gcc" >/dev/null 2>&1
    fi
}

# Whether something is written in C: the crate `cc` compiles it, and looks for musl-gcc for such a target.
has_c() {
    [ -f Cargo.lock ] && grep -q '^name = "cc"$' Cargo.lock
}

# Says that $binary is static, ends the script when it is not. A static program names no interpreter, which
# would load its libraries, and no library. ldd is not asked: it calls all foreign programs "not dynamic".
linkage() {
    if command -v readelf >/dev/null 2>&1; then
        headers=$(LC_ALL=C readelf -l -d -W "$binary" 2>&1) || give_up "readelf cannot read $binary"
        case $headers in
            *INTERP* | *"(NEEDED)"*) give_up "$binary is not static: readelf -l -d shows what it loads" ;;
            *) echo "static (readelf)" ;;
        esac
    elif command -v file >/dev/null 2>&1; then
        case $(file -b "$binary") in
            *"statically linked"* | *"static-pie linked"*) echo "static (file)" ;;
            *) give_up "$binary is not static: $(file -b "$binary")" ;;
        esac
    else
        echo "not checked to be static: neither readelf nor file is here"
    fi
}

main "$@"
