#!/bin/sh
# smoke.sh BINARY [RUNNER]: checks that a built binary works, on this machine or with RUNNER (qemu-aarch64, ...): the
# version, /health, /ready, a probe whose metrics are compared with the golden text of a recorded run, a refused
# request, and SIGTERM with exit status 0. A fake iperf3 prints the recorded run, so that neither a network nor an
# iperf3 of another architecture is needed. It listens on a free port of 127.0.0.1 and leaves nothing behind.
set -eu

readonly case=3.21/tcp
readonly step_s=0.1      # the pause between two checks of a condition
readonly wait_steps=600  # 60 s, for a start or an exit under qemu on a busy machine

dir='' exporter_pid=''

main() {
    [ $# -eq 1 ] || [ $# -eq 2 ] || { echo "usage: smoke.sh BINARY [RUNNER]" >&2; exit 2; }
    binary=$1 runner=${2:-}
    [ -f "$binary" ] || fail "there is no $binary"
    cd "$(dirname "$0")/../.."
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    sh contrib/packaging/need.sh curl
    dir=$(mktemp -d)
    make_fake

    said=$($runner "$binary" --version) || fail "--version fails"
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    case $said in
        *"$version"*) echo "$said" | head -n 1 ;;
        *) fail "--version says: $said" ;;
    esac

    start
    expect 200 /health
    expect 200 /ready
    expect 200 "/probe?target=127.0.0.1:5201&period=2s"
    # Each recorded value must be there, except for durations, which belong to this probe.
    grep '^[^#]' "tests/golden/$case.txt" | grep -v ' SECONDS$' >"$dir/wanted"
    [ "$(wc -l <"$dir/wanted")" -gt 20 ] || fail "the golden text is too short to show anything"
    missing=$(grep -vxF -f "$dir/reply" "$dir/wanted" || true)
    [ -z "$missing" ] || { cat "$dir/reply" >&2; fail "not among the metrics: $missing"; }
    expect 400 "/probe?target=127.0.0.1&period=never"

    kill -TERM "$exporter_pid"
    wait_until gone || fail "SIGTERM does not end it"
    status=0
    wait "$exporter_pid" || status=$?
    exporter_pid=''
    [ "$status" -eq 0 ] || fail "after SIGTERM the exit status is $status"
    echo "health, readiness, $(wc -l <"$dir/wanted") samples of a probe, a refusal, SIGTERM: all as expected"
}

make_fake() {
    # Under another name first: a file that is still open for writing cannot be executed.
    cat >"$dir/draft" <<END
#!/bin/sh
case \$1 in
    --version) echo 'iperf 3.21 (fake)' ;;
    --help) ;;
    *) exec cat '$PWD/tests/fixtures/$case.json' ;;
esac
END
    chmod 755 "$dir/draft"
    mv "$dir/draft" "$dir/iperf3"
}

start() {
    : >"$dir/log"
    $runner "$binary" --web.listen-address=127.0.0.1:0 --log.format=logfmt --iperf3.path="$dir/iperf3" 2>"$dir/log" &
    exporter_pid=$!
    wait_until listens || fail "the exporter does not say that it listens"
}

# Reads the port from the log; an incomplete line is ignored.
listens() {
    port=$(sed -n 's/.*msg="\{0,1\}listening"\{0,1\} address="\{0,1\}127\.0\.0\.1:\([0-9]*\)"\{0,1\}.*/\1/p' "$dir/log" | head -n 1)
    if [ -n "$port" ]; then return 0; fi
    kill -0 "$exporter_pid" 2>/dev/null || fail "the exporter ended"
    return 1
}

gone() {
    ! kill -0 "$exporter_pid" 2>/dev/null
}

wait_until() {
    step=0
    until "$1"; do
        [ "$step" -lt "$wait_steps" ] || return 1
        sleep "$step_s"
        step=$((step + 1))
    done
}

# expect STATUS PATH: requests PATH and leaves the body in $dir/reply.
expect() {
    got=$(curl -sS --noproxy '*' --max-time 60 -o "$dir/reply" -w '%{http_code}' "http://127.0.0.1:$port$2") ||
        fail "no answer to $2"
    [ "$got" = "$1" ] || { cat "$dir/reply" >&2; fail "$2 returned $got instead of $1"; }
}

fail() {
    if [ -n "$dir" ] && [ -s "$dir/log" ]; then
        cat "$dir/log" >&2
    fi
    echo "smoke.sh: $binary: $1" >&2
    exit 1
}

clean_up() {
    status=$?
    trap '' HUP INT TERM
    trap - EXIT
    if [ -n "$exporter_pid" ]; then
        kill -9 "$exporter_pid" 2>/dev/null || true
        wait "$exporter_pid" 2>/dev/null || true
    fi
    [ -z "$dir" ] || rm -rf "$dir"
    exit "$status"
}

main "$@"
