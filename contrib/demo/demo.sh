#!/bin/sh
# demo.sh: shows the exporter at work, with one command and on this machine alone. It builds the exporter, starts an
# iperf3 server and the exporter on free ports of 127.0.0.1, probes once, prints the metrics and stops both. It removes
# its files at the end. It exits non-zero, with one line and the logs, when a step fails or the probe reports
# iperf3_up 0.
# BIN=path uses an existing binary instead of building one.
set -eu

# After the build the demo takes at most 10 x 5 s (0.1 s of them for each port in use) + 5 s + 20 s + 3 x 5 s.
readonly step_s=0.1       # the pause between two checks of a condition
readonly wait_steps=50    # 5 s: the longest wait for a start or an exit
readonly probe_steps=200  # 20 s: the longest wait for a probe, whose test takes 2 s
readonly port_tries=10

server_pid='' exporter_pid='' fetch_pid='' dir=''

main() {
    cd "$(dirname "$0")/../.."
    # The terminal's Ctrl-C reaches this shell, but not its background processes: a shell makes those ignore it. So each
    # exit goes through clean_up.
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 141' PIPE # `make demo | head`

    sh contrib/packaging/need.sh iperf3
    fetcher=$(first_of curl wget)
    [ -n "$fetcher" ] || { sh contrib/packaging/need.sh curl; fetcher=curl; }
    find_binary
    dir=$(mktemp -d)
    # The logs are read as soon as their writers have started, which may be before these create them.
    : >"$dir/server.log"
    : >"$dir/exporter.log"

    start_server
    start_exporter
    url="http://127.0.0.1:$port/probe?target=127.0.0.1:$server_port&period=2s"
    probe
    next_steps
}

find_binary() {
    if [ -n "${BIN:-}" ]; then
        [ -x "$BIN" ] || fail "BIN=$BIN is not a program"
        binary=$BIN
        return
    fi
    # cargo decides whether there is anything to build, and ends at once if there is not.
    cargo build --release || fail "cargo build --release failed"
    binary=${CARGO_TARGET_DIR:-target}/release/iperf3-exporter
    [ -x "$binary" ] || fail "cargo built no $binary"
}

# iperf3 does not accept port 0, and plain sh cannot ask the kernel for a free one. So this tries ports until the server
# listens. The process ID spreads demos that run side by side; 7919 is a prime, so no port repeats.
start_server() {
    try=0
    while [ "$try" -lt "$port_tries" ]; do
        server_port=$((20000 + ($$ + try * 7919) % 40000))
        # --forceflush: otherwise iperf3 buffers its line, because its output is a file.
        iperf3 -s -B 127.0.0.1 -p "$server_port" --forceflush >"$dir/server.log" 2>&1 &
        server_pid=$!
        if wait_until server_listens "$server_pid"; then
            echo "iperf3 -s listens on 127.0.0.1:$server_port"
            return
        fi
        stop "$server_pid"
        server_pid=
        try=$((try + 1))
    done
    fail "iperf3 -s did not start on any of $port_tries ports" "$dir/server.log"
}

server_listens() {
    grep -q "^Server listening on $server_port" "$dir/server.log"
}

start_exporter() {
    "$binary" --web.listen-address=127.0.0.1:0 --log.format=logfmt 2>"$dir/exporter.log" &
    exporter_pid=$!
    wait_until exporter_listens "$exporter_pid" ||
        fail "the exporter did not say that it listens" "$dir/exporter.log"
    echo "iperf3-exporter listens on 127.0.0.1:$port"
}

# Reads the port from the line  time=... level=info msg="listening" address=127.0.0.1:PORT  of the log. `read` fails on
# an incomplete line, so a port is never read by halves.
exporter_listens() {
    while IFS= read -r line; do
        case $line in
            *msg=*listening*address=*127.0.0.1:*)
                port=${line##*127.0.0.1:}
                port=${port%%[!0-9]*}
                [ -z "$port" ] || return 0
                ;;
        esac
    done <"$dir/exporter.log"
    return 1
}

probe() {
    printf "\n\$ %s '%s'\n" "$fetcher" "$url"
    # In the background, with short waits: so a signal ends the demo at once.
    fetch >"$dir/metrics" 2>"$dir/fetch.log" &
    fetch_pid=$!
    in_time=yes
    wait_gone "$fetch_pid" "$probe_steps" || { in_time=no; kill "$fetch_pid" 2>/dev/null || true; }
    status=0
    wait "$fetch_pid" || status=$?
    fetch_pid=
    cat "$dir/metrics"
    if [ "$status" -ne 0 ]; then
        cat "$dir/fetch.log" >&2
        [ "$in_time" = yes ] || fail "the probe took longer than $probe_steps x $step_s s" "$dir/exporter.log"
        fail "the probe got no answer ($fetcher: exit status $status)" "$dir/exporter.log"
    fi
    grep -Eq '^iperf3_up(\{[^}]*\})? 1$' "$dir/metrics" ||
        fail "iperf3_up is not 1" "$dir/exporter.log"
}

# The time limit is in probe: Debian 12's busybox wget crashes with -T. -t 1: GNU's would retry 20 times. The
# environment's proxy is not for 127.0.0.1.
fetch() {
    unset http_proxy HTTP_PROXY all_proxy ALL_PROXY
    case $fetcher in
        curl) exec curl -sS "$url" ;; # without -f: the text of an error is useful
        wget) exec wget -t 1 -q -O - "$url" ;;
    esac
}

next_steps() {
    printf '\nThe probe succeeded: iperf3_up is 1. Next steps:\n'
    printf '    %-42s %s\n' \
        "iperf3 -s" "on the host to measure to" \
        "$binary" "on the host to measure from, which then has:" \
        "http://localhost:9579/" "the page for a browser" \
        "http://localhost:9579/probe?target=HOST" "a probe, as Prometheus requests it" \
        "contrib/docs/" "Prometheus' scrape configuration, flags, metrics" \
        "sudo make install" "the binary and a systemd unit"
}

# The first of the arguments that is a command here, or nothing.
first_of() {
    for name in "$@"; do
        if command -v "$name" >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
}

# Waits until the command $1 succeeds; gives up when the process $2 is gone, or after wait_steps.
wait_until() {
    step=0
    while [ "$step" -lt "$wait_steps" ]; do
        if "$1"; then return 0; fi
        kill -0 "$2" 2>/dev/null || return 1
        sleep "$step_s"
        step=$((step + 1))
    done
    return 1
}

# Waits until the process $1 is gone; gives up after $2 steps. (The shell reaps it while it waits for sleep.)
wait_gone() {
    step=0
    while kill -0 "$1" 2>/dev/null; do
        [ "$step" -lt "$2" ] || return 1
        sleep "$step_s"
        step=$((step + 1))
    done
}

# Ends the process $1, with SIGTERM first, and reaps it.
stop() {
    [ -n "$1" ] || return 0
    kill "$1" 2>/dev/null || true
    wait_gone "$1" "$wait_steps" || kill -9 "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
}

# fail REASON [LOG]
fail() {
    if [ $# -gt 1 ] && [ -s "$2" ]; then
        echo "--- $(basename "$2")" >&2
        cat "$2" >&2
        echo "---" >&2
    fi
    echo "demo.sh: $1" >&2
    exit 1
}

clean_up() {
    status=$?
    trap '' HUP INT TERM PIPE # nothing interrupts the cleanup, which has its own time limit
    trap - EXIT
    stop "$fetch_pid"
    stop "$exporter_pid" # before the server: it ends a running test and tells the server
    stop "$server_pid"
    [ -z "$dir" ] || rm -rf "$dir"
    exit "$status"
}

main "$@"
