#!/bin/sh
# mipsel.sh: builds the exporter for routers with a little-endian MIPS processor (MT7621, MT7628, ...), and runs it
# under QEMU: --version, --health, and a probe with an iperf3 that prints a recorded report. Prints the binary's path
# and size. Takes minutes, because it also compiles the standard library, which is not distributed for this target.
# contrib/openwrt/README.md has the recipe. CARGO_FLAGS goes to cargo, split at blanks: `--no-default-features` leaves
# TLS out. Prints one line that begins with SKIPPED: for a missing tool.
set -eu

readonly target=mipsel-unknown-linux-musl
readonly step_s=0.2
readonly wait_steps=150 # 30 s: the longest wait for a start under QEMU

dir='' exporter_pid=''

main() {
    cd "$(dirname "$0")/../.."
    library=$(rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library
    [ -d "$library" ] || skip "no source of the standard library here (rustup component add rust-src)"
    cargo zigbuild --help >/dev/null 2>&1 ||
        skip "no cargo-zigbuild here (pip install cargo-zigbuild ziglang==0.14.1, in a venv that is on PATH)"

    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    dir=$(mktemp -d)
    : >"$dir/log"
    build
    if ! command -v qemu-mipsel >/dev/null 2>&1; then
        echo "SKIPPED: it was not run: no qemu-mipsel here (Debian: qemu-user)"
        exit 0
    fi
    try
}

skip() {
    echo "SKIPPED: nothing was built for $target: $1"
    exit 0
}

fail() {
    cat "$dir/log" >&2
    echo "mipsel.sh: $1" >&2
    exit 1
}

clean_up() {
    if [ -n "$exporter_pid" ]; then
        kill "$exporter_pid" 2>/dev/null || true
        wait "$exporter_pid" 2>/dev/null || true
    fi
    [ -z "$dir" ] || rm -rf "$dir"
}

# RUSTC_BOOTSTRAP: only nightly compilers can build the standard library. RUST_LIBC_UNSTABLE_MUSL_V1_2_3: zig's musl, as
# any since 1.2, has 64-bit times on 32-bit machines. Without this setting the crate libc assumes 32-bit ones. rustix
# then passes one instead of the other, and poll(2) fails.
build() {
    # shellcheck disable=SC2086 # several words
    RUSTC_BOOTSTRAP=1 RUST_LIBC_UNSTABLE_MUSL_V1_2_3=1 \
        cargo zigbuild -Zbuild-std=std,panic_abort --release --target "$target" ${CARGO_FLAGS:-} ||
        fail "cargo zigbuild failed for $target"
    binary=${CARGO_TARGET_DIR:-target}/$target/release/iperf3-exporter
    # A static program names no interpreter, which would load its libraries.
    if command -v readelf >/dev/null 2>&1 && LC_ALL=C readelf -l "$binary" | grep -q INTERP; then
        fail "$binary is not static"
    fi
    echo "$binary: $(wc -c <"$binary" | tr -d ' ') bytes"
}

try() {
    qemu-mipsel "$binary" --version || fail "it does not run"
    cat >"$dir/iperf3" <<EOF
#!/bin/sh
case \$1 in
    --version) echo 'iperf 3.99 (fake)' ;;
    --help) ;;
    *) exec cat '$PWD/tests/fixtures/3.12/tcp.json' ;;
esac
EOF
    chmod 755 "$dir/iperf3"
    qemu-mipsel "$binary" --web.listen-address=127.0.0.1:0 --iperf3.path="$dir/iperf3" >"$dir/log" 2>&1 &
    exporter_pid=$!
    step=0
    until port=$(sed -n 's/.*msg="listening" address=127.0.0.1:\([0-9]*\)$/\1/p' "$dir/log") && [ -n "$port" ]; do
        step=$((step + 1))
        if [ "$step" -gt "$wait_steps" ] || ! kill -0 "$exporter_pid" 2>/dev/null; then
            fail "the exporter does not listen"
        fi
        sleep "$step_s"
    done
    qemu-mipsel "$binary" "--health=http://127.0.0.1:$port/health" || fail "the exporter is not healthy"
    if command -v curl >/dev/null 2>&1; then
        curl --silent --show-error --noproxy '*' --max-time 60 "http://127.0.0.1:$port/probe?target=127.0.0.1" \
            >"$dir/probe" || fail "the probe was not answered"
        grep '^iperf3_up{.*} 1$' "$dir/probe" || fail "the probe failed"
        grep '^iperf3_sent_bytes{' "$dir/probe" || fail "the probe has no bytes"
    else
        echo "SKIPPED: no probe was made: no curl here"
    fi
    kill "$exporter_pid"
    wait "$exporter_pid" || fail "the exporter ended with status $?"
    exporter_pid=
    echo "$target: runs under $(qemu-mipsel --version | sed -n '1s/qemu-[a-z]* version \([0-9.]*\).*/QEMU \1/p')"
}

main
