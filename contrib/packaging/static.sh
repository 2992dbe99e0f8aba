#!/bin/sh
# static.sh TARGET: builds a release binary for TARGET without shared libraries, and checks that it needs none. Prints
# its path and its size in bytes.
#     static.sh x86_64-unknown-linux-musl
#     static.sh aarch64-unknown-linux-musl
# It uses the first possible of these ways:
#   1. STATIC_BUILD, if set: a command, split at blanks, that is called with TARGET as its last argument in the
#      project's root, and leaves the binary where cargo would. For machines on which the other ways do not work.
#   2. cargo with Rust's own linker, rust-lld, for every target: rustc includes musl and everything else for linking,
#      and lld makes a file that is 90 kB smaller. The C code in the crate ring, which TLS needs, is compiled by
#      musl-gcc (Debian: musl-tools) for this machine's own architecture, or by clang: ring's C code uses no headers of
#      the target, so one clang works for all targets. Without C code no clang is needed either.
#   3. cargo alone, for this machine's own architecture, if there is no rust-lld, as in some distributions.
#   4. cargo zigbuild, if there is no clang: zig is a C compiler and linker for all targets.
# CARGO_FLAGS goes to cargo, split at blanks: `--no-default-features` leaves out TLS and with it all C code.
# For 2 to 4 rustup fetches the target's standard library if it is missing (toolchain.sh).
#
# Reproducible: the same sources, rustc and C compiler make the same bytes in every folder and for every user. The
# binary contains no folder of this machine, which is checked, and no date.
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
    for folder in "$PWD" "$(cargo_home)"; do
        ! LC_ALL=C grep -aqF "$folder/" "$binary" || give_up "$binary has a path of this machine in it: $folder"
    done
    size_bytes=$(wc -c <"$binary" | tr -d ' ')
    # On a separate line: a failure inside echo's argument would not end the script.
    how=$(linkage) || exit 1
    echo "$binary: $size_bytes bytes, $how"
}

give_up() {
    echo "static.sh: $1" >&2
    exit 1
}

build() {
    command -v rustc >/dev/null 2>&1 || give_up "no rustc here: see https://rustup.rs"
    toolchain=$(sh contrib/packaging/toolchain.sh "$target") || exit 1
    [ -z "$toolchain" ] || export RUSTUP_TOOLCHAIN="$toolchain"
    subcommand=build
    if has_c && ! has_compiler; then
        if command -v clang >/dev/null 2>&1; then
            # Under the name by which the crate `cc` looks for the compiler of one target.
            export "CC_$(echo "$target" | tr - _)=clang"
        else
            cargo zigbuild --help >/dev/null 2>&1 || give_up "a C compiler for $target is needed: clang, \
or cargo-zigbuild and zig (cargo install cargo-zigbuild; pip install ziglang)"
            subcommand=zigbuild
        fi
    fi
    # One flag per line: a folder's name may have blanks.
    flags=$(path_flags)
    if [ "$subcommand" = build ] && { has_lld || ! is_own; }; then
        word=$(echo "$target" | tr 'a-z-' 'A-Z_')
        export "CARGO_TARGET_${word}_LINKER=rust-lld"
        # Merges identical functions.
        flags="$flags
-Clink-arg=--icf=all"
        # Relocations in a few bytes: musl's start code reads them since 1.2.4, and Rust 1.93 includes 1.2.5.
        if [ "$(rustc -V | sed 's/^rustc 1\.\([0-9]*\).*/\1/')" -ge 93 ]; then
            flags="$flags
-Clink-arg=--pack-dyn-relocs=relr"
        fi
    fi
    # A frame pointer in each function makes the tables that end a panicked thread 70 kB smaller on x86-64: they then
    # need not describe each push and pop. The code's size stays the same. On aarch64 the file would be 22 kB larger.
    case $target in
        x86_64-*) flags="$flags
-Cforce-frame-pointers=yes" ;;
    esac
    # With --target they apply to the binary only, and not to build scripts.
    CARGO_ENCODED_RUSTFLAGS=$(printf '%s' "$flags" | tr '\n' '\037')
    export CARGO_ENCODED_RUSTFLAGS
    # No date is used there, and when its value changes, cargo rebuilds ring's C code and everything that depends on it.
    unset SOURCE_DATE_EPOCH
    # shellcheck disable=SC2086 # several words
    cargo "$subcommand" --release --locked --target "$target" ${CARGO_FLAGS:-} ||
        give_up "cargo $subcommand failed for $target"
}

cargo_home() {
    echo "${CARGO_HOME:-$HOME/.cargo}"
}

# The flags that replace this machine's folders in the locations of panics. If several prefixes match, rustc uses the
# last one. The standard library's own locations are already written as /rustc/HASH, but rustc turns them into folders
# of this machine where the component rust-src is installed.
path_flags() {
    echo "--remap-path-prefix=$PWD=/iperf3-exporter"
    mkdir -p "${CARGO_TARGET_DIR:-target}"
    echo "--remap-path-prefix=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)=/target"
    # Before the folder is listed: it does not exist on a new machine.
    cargo fetch --quiet --locked --target "$target" || give_up "cargo cannot fetch the dependencies"
    for index in "$(cargo_home)"/registry/src/*; do
        echo "--remap-path-prefix=$index=/cargo"
    done
    hash=$(rustc -vV | sed -n 's/^commit-hash: //p')
    echo "--remap-path-prefix=$(rustc --print sysroot)/lib/rustlib/src/rust=/rustc/$hash"
}

# Whether $target is the musl target of this machine's architecture: cargo and rustc link it without help.
is_own() {
    host_arch=$(rustc -vV | sed -n 's/^host: \([^-]*\)-.*-linux-.*/\1/p')
    case $target in
        "$host_arch"-*-linux-musl*) ;;
        *) return 1 ;;
    esac
}

# Whether the toolchain has a linker of its own.
has_lld() {
    host=$(rustc -vV | sed -n 's/^host: //p')
    [ -x "$(rustc --print sysroot)/lib/rustlib/$host/bin/rust-lld" ]
}

# Whether there is C code, which the crate `cc` compiles.
has_c() {
    # shellcheck disable=SC2086 # several words
    cargo tree --quiet --target "$target" --edges normal,build --prefix none ${CARGO_FLAGS:-} | grep -q '^cc v'
}

# Whether the crate `cc` finds a C compiler for $target without help: one that was set, or musl's for this machine.
has_compiler() {
    eval "set_compiler=\${CC_$(echo "$target" | tr - _):-}"
    [ -z "$set_compiler" ] || return 0
    is_own || return 1
    command -v musl-gcc >/dev/null 2>&1 || command -v "$host_arch-linux-musl-gcc" >/dev/null 2>&1
}

# Checks that $binary is static, and ends the script if it is not. A static program names no interpreter, which would
# load its libraries, and no library. ldd does not help: it calls all foreign programs "not dynamic".
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
