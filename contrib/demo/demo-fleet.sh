#!/usr/bin/env bash
# demo-fleet.sh: a fleet in a box, on this machine alone. Three hosts, each with an exporter and an iperf3 server,
# measure each other. A real Prometheus scrapes them with the shipped contrib/prometheus.yml, its rules and alerts. One
# target is down on purpose. After DEMO_SECONDS (60) a table shows Prometheus' data. Exits 0 only if nothing is missing.
# It removes everything when it ends, also after an error.
#
# As root the hosts are network namespaces on one bridge, with different links. Otherwise they are addresses of the
# loopback interface.
#   BIN=path         uses an existing binary instead of building one
#   DEMO_SECONDS=25  measures for this time
#   DEMO_LOOPBACK=1  uses loopback addresses also as root
#   KEEP=1           continues after the table, until Ctrl-C
set -euo pipefail

readonly names=(alpha beta gamma)
# Each host's link, in both directions: Mbit/s, the delay of a packet in milliseconds, and how many of 1000 packets are
# lost.
readonly mbits=(100 20 50) delays_ms=(2 10 0) losses=(0 10 0)

readonly step_s=0.1      # the pause between two checks of a condition
readonly wait_steps=300  # 30 s: the longest wait for a start or an exit; a machine that runs tests is slow
readonly port_tries=10
readonly late_s=120      # how much longer than DEMO_SECONDS it may wait for missing values
readonly seconds=${DEMO_SECONDS:-60}
readonly scrape_s=5      # for the probes, instead of the shipped minute
readonly dead_scrape_s=4 # for the target that is down
# The port of a host on which nothing listens: tcpmux, unused for decades.
readonly dead_port=1

dir='' link='' prefix='' where='' prometheus='' prometheus_url='' verdict=1
# Indexed by the host's number: its address, the process that holds its namespace, its ports.
addresses=() holders=() server_ports=() exporter_ports=()
switch=''  # the process that holds the namespace of the bridge
started=() # all processes to end, in the order of their start

main() {
    cd "$(dirname "$0")/../.."
    # The terminal's Ctrl-C reaches this shell, but not its background processes, which ignore it. So each exit goes
    # through clean_up. If this shell is killed outright, the kernel ends its processes (setpriv --pdeathsig), the
    # namespaces disappear with them, and only the folder is left.
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 141' PIPE

    case $seconds in
        '' | *[!0-9]* | 0*) fail "DEMO_SECONDS=$seconds is not a number of seconds" ;;
    esac
    sh contrib/packaging/need.sh iperf3 prometheus promtool setpriv
    find_binary
    dir=$(mktemp -d "${TMPDIR:-/tmp}/demo-fleet.XXXXXX")

    make_hosts
    for host in "${!names[@]}"; do
        start_server "$host"
        start_exporter "$host"
    done
    configure
    start_prometheus
    what_to_look_at
    measure
    echo
    cat "$dir/table"
    judge
    keep
    return "$verdict"
}

find_binary() {
    if [ -n "${BIN:-}" ]; then
        [ -x "$BIN" ] || fail "BIN=$BIN is not a program"
        binary=$BIN
        return
    fi
    cargo build --release || fail "cargo build --release failed"
    binary=${CARGO_TARGET_DIR:-target}/release/iperf3-exporter
    [ -x "$binary" ] || fail "cargo built no $binary"
}

# Namespaces where possible, otherwise addresses of 127.0.0.0/8. Linux has them all.
make_hosts() {
    local why=
    if [ -n "${DEMO_LOOPBACK:-}" ]; then
        why="DEMO_LOOPBACK is set"
    elif [ "$(id -u)" -ne 0 ]; then
        why="you are not root"
    else
        sh contrib/packaging/need.sh ip nsenter tc unshare
        make_network >"$dir/network.log" 2>&1 || why="no network namespaces: $(tail -n 1 "$dir/network.log")"
    fi
    if [ -z "$why" ]; then
        where="each in its own network namespace on one bridge"
        return
    fi
    echo "SKIPPED: namespaces with different links, because $why. The hosts are three loopback addresses"
    end_all
    prefix=127.$((1 + $$ / 254 % 254)).$((1 + $$ % 254))
    for host in "${!names[@]}"; do
        addresses[host]=$prefix.$((host + 1))
        holders[host]=
    done
    where="each with its own loopback address"
}

# A bridge in its own namespace, a namespace for each host, and a cable to the outside, through which Prometheus and a
# browser reach them.
make_network() {
    link=fleet$$
    choose_prefix || return 1
    new_namespace switch || return 1
    switch=$holder
    within "$switch" ip link add bridge type bridge || return 1
    within "$switch" ip link set bridge up || return 1
    ip link add "$link" type veth peer name out netns "$switch" || return 1
    within "$switch" ip link set out master bridge up || return 1
    ip address add "$prefix.254/24" dev "$link" || return 1
    ip link set "$link" up || return 1
    for host in "${!names[@]}"; do
        new_namespace "${names[host]}" || return 1
        holders[host]=$holder
        addresses[host]=$prefix.$((host + 1))
        within "$switch" ip link add "port$host" type veth peer name eth0 netns "$holder" || return 1
        within "$switch" ip link set "port$host" master bridge up || return 1
        within "$holder" ip address add "${addresses[host]}/24" dev eth0 || return 1
        within "$holder" ip link set eth0 up || return 1
        # The host's end shapes its outgoing traffic, the bridge's end its incoming traffic.
        shape "$holder" eth0 "$host" || return 1
        shape "$switch" "port$host" "$host" || return 1
    done
}

# A /24 of 100.64.0.0/10, which is for networks between a provider and its customers and is rarely in use on a host.
choose_prefix() {
    local try number
    for try in 0 1 2 3 4 5 6 7 8 9; do
        number=$((($$ + try * 7919) % 16384))
        prefix=100.$((64 + number / 256)).$((number % 256))
        # A route to a part of it, or a wider one other than the default route.
        if [ -z "$(ip -4 route show table all root "$prefix.0/24")" ] &&
            ! ip -4 route show table all match "$prefix.0/24" | grep -qv '^default'; then
            return 0
        fi
    done
    echo "no network of 100.64.0.0/10 is free here"
    return 1
}

# Makes a namespace that lives as long as the process `holder`.
new_namespace() {
    setpriv --pdeathsig KILL unshare --net sh -c 'ip link set lo up && echo made && exec sleep 1000000' \
        >"$dir/$1.namespace" 2>&1 &
    holder=$!
    started+=("$holder")
    wait_until "$holder" grep -qx made "$dir/$1.namespace" || { cat "$dir/$1.namespace"; return 1; }
}

within() {
    local process=$1
    shift
    nsenter "--net=/proc/$process/ns/net" "$@"
}

# shape NAMESPACE DEVICE HOST: the outgoing traffic of the device gets the rate, delay and losses of the host's link. A
# kernel may lack any of them: then the link is a better one, and a message says so.
shape() {
    local mbit=${mbits[$3]} delay=${delays_ms[$3]} loss=${losses[$3]}
    # A timer may be 5 ms late without slowing the link; the queue after it holds 30 ms.
    local bytes_per_ms=$((mbit * 1000 / 8))
    local burst=$((bytes_per_ms * 5)) queue=$((bytes_per_ms * 30))
    [ "$burst" -ge 16000 ] || burst=16000
    within "$1" tc qdisc add dev "$2" root handle 1: tbf rate "${mbit}mbit" burst "$burst" \
        limit $((burst + queue)) || lacks "rates (tbf)"
    # Room for the packets in flight and for a queue.
    [ "$delay" -eq 0 ] || within "$1" tc qdisc add dev "$2" parent 1:1 handle 10: netem delay "${delay}ms" \
        limit 150 || lacks "delays (netem)"
    [ "$loss" -eq 0 ] || lose "$1" "$2" "$loss" || lacks "losses (cls_bpf)"
    # A virtual cable carries packets of 64 kB; losing one of these would be like losing many.
    within "$1" ip link set "$2" gso_max_segs 1 || lacks "packets of their real size (gso_max_segs)"
}

lacks() {
    echo "$1" >>"$dir/lacks"
}

# With classic BPF, as not every kernel has netem: it drops this many of 1000 packets longer than 500 bytes. 0xfff00000
# is the offset of the network header, 0xfffff038 that of a random number (linux/filter.h).
lose() {
    local program="40 0 0 $((0xfff00000 + 2)),53 0 3 500,32 0 0 $((0xfffff038)),53 1 0 $(($3 * 4294967))"
    within "$1" tc qdisc add dev "$2" clsact &&
        within "$1" tc filter add dev "$2" egress protocol ip bpf da bytecode "6,$program,6 0 0 2,6 0 0 4294967295"
}

# on HOST COMMAND ...: starts a command in the background, inside the host's namespace if it has one.
# shellcheck disable=SC2120
on() {
    local holder=${holders[$1]:-}
    shift
    if [ -n "$holder" ]; then
        setpriv --pdeathsig TERM nsenter "--net=/proc/$holder/ns/net" "$@" &
    else
        setpriv --pdeathsig TERM "$@" &
    fi
    started+=($!)
}

# iperf3 does not accept port 0. A namespace has its default port free; on loopback another server may use it.
start_server() {
    local address=${addresses[$1]} try port log=$dir/${names[$1]}-iperf3.log
    for ((try = 0; try < port_tries; try++)); do
        port=5201
        [ -n "${holders[$1]}" ] || port=$((20000 + ($$ + try * 7919) % 40000))
        : >"$log"
        # --forceflush: otherwise iperf3 buffers its line, because its output is a file.
        on "$1" iperf3 -s -B "$address" -p "$port" --forceflush >"$log" 2>&1
        if wait_until "${started[-1]}" grep -q "^Server listening on $port" "$log"; then
            server_ports[$1]=$port
            return
        fi
    done
    fail "iperf3 -s did not start on ${names[$1]}"
}

# It may only measure to the demo's own addresses; the budget is set so that it can be viewed.
start_exporter() {
    local address=${addresses[$1]} port=0 log=$dir/${names[$1]}-exporter.log
    [ -z "${holders[$1]}" ] || port=9579
    : >"$log"
    on "$1" "$binary" --web.listen-address="$address:$port" --log.format=logfmt \
        --probe.allow-target="$prefix.0/24" --probe.max-bytes-per-day=100G >/dev/null 2>"$log"
    wait_until "${started[-1]}" grep -q "msg=\"*listening.*$address:[0-9]*\$" "$log" ||
        fail "the exporter on ${names[$1]} did not say that it listens"
    exporter_ports[$1]=$(sed -n "s/.*msg=\"*listening.*$address:\([0-9]*\)\$/\1/p" "$log" | head -n 1)
}

# The shipped files unchanged, and the file of targets. Each server has 6 tests within max_age: short enough that it is
# idle for most of the time, long enough for a meaningful result.
configure() {
    local host other period max_age
    mkdir "$dir/etc"
    cp contrib/prometheus.yml contrib/recording-rules.yml "$dir/etc/"
    for other in contrib/alerts*.yml; do
        [ ! -e "$other" ] || cp "$other" "$dir/etc/"
    done
    period=$((seconds / 20))
    [ "$period" -ge 2 ] || period=2
    max_age=$((seconds * 3 / 4))
    [ "$max_age" -ge 15 ] || max_age=15
    {
        for host in "${!names[@]}"; do
            echo "- targets:"
            for other in "${!names[@]}"; do
                [ "$other" -eq "$host" ] || echo "    - ${addresses[other]}:${server_ports[other]}"
            done
            echo "  labels:"
            echo "    exporter: ${addresses[host]}:${exporter_ports[host]}"
            echo "    __scrape_interval__: ${scrape_s}s"
            echo "    __scrape_timeout__: ${scrape_s}s"
            echo "    __iperf3_period: ${period}s"
            echo "    __iperf3_max_age: ${max_age}s"
            # Without a limit, loopback would measure the CPU and use all of it.
            [ -n "${holders[host]}" ] || echo "    __iperf3_bitrate: 50M"
        done
        # An exporter listed a second time, with other settings: its own metrics must still be scraped only once.
        echo "- targets:"
        echo "    - ${addresses[2]}:$dead_port"
        echo "  labels:"
        echo "    exporter: ${addresses[0]}:${exporter_ports[0]}"
        echo "    __scrape_interval__: ${dead_scrape_s}s"
        echo "    __scrape_timeout__: ${dead_scrape_s}s"
        echo "    __iperf3_connect_timeout: 1s"
    } >"$dir/etc/iperf3-targets.yml"
    promtool check config "$dir/etc/prometheus.yml" >"$dir/promtool.said" 2>&1 || {
        cat "$dir/promtool.said" >&2
        fail "promtool does not accept the configuration"
    }
}

start_prometheus() {
    local try port log=$dir/prometheus.log
    for ((try = 0; try < port_tries; try++)); do
        # The default port first; another Prometheus on this machine may use it.
        port=9090
        [ "$try" -eq 0 ] || port=$((20000 + ($$ + try * 7919) % 40000))
        : >"$log"
        setpriv --pdeathsig TERM prometheus --config.file="$dir/etc/prometheus.yml" --storage.tsdb.path="$dir/data" \
            --web.listen-address="127.0.0.1:$port" >"$log" 2>&1 &
        prometheus=$!
        started+=("$prometheus")
        if wait_until "$prometheus" grep -q "Server is ready to receive web requests" "$log"; then
            prometheus_url=http://127.0.0.1:$port
            return
        fi
        grep -q "address already in use" "$log" || break
    done
    fail "Prometheus did not start"
}

what_to_look_at() {
    echo "Three hosts, $where. Each host tests to the other two: TCP up, TCP down and UDP."
    for host in "${!names[@]}"; do
        printf '    %-6s http://%s:%s/' "${names[host]}" "${addresses[host]}" "${exporter_ports[host]}"
        [ -z "${holders[host]}" ] || printf '    %s Mbit/s, %s ms, %s.%s %% loss' \
            "${mbits[host]}" "${delays_ms[host]}" "$((losses[host] / 10))" "$((losses[host] % 10))"
        echo
    done
    if [ -s "$dir/lacks" ]; then
        echo "SKIPPED: parts of the links that this kernel cannot simulate: $(sort -u "$dir/lacks" | paste -sd, -)"
    fi
    echo "Prometheus with contrib/prometheus.yml:"
    # Debian's 2.x has only the older pages, at this path; its 3.x has none.
    local pages=$prometheus_url graph="graph?g0.tab=0&g0.range_input=5m&g0.expr="
    if is_page /alerts; then
        :
    elif is_page /classic/alerts; then
        pages+=/classic
    else
        echo "SKIPPED: the pages of Prometheus, because this one has none. The addresses below are those of its API"
        pages+=/api/v1
        graph="query?query="
    fi
    printf '    %-10s %s\n' alerts "$pages/alerts" targets "$pages/targets" \
        graph "$pages/${graph}iperf3_bandwidth_bytes_per_second*8"
    echo "Measuring for $seconds s."
}

# Prometheus' response to a GET, with its status line; without curl, which may be missing.
answer() {
    exec 3<>"/dev/tcp/127.0.0.1/${prometheus_url##*:}" || return 1
    printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3
    cat <&3
    exec 3>&-
}

is_page() {
    local said
    said=$(answer "$1" 2>/dev/null) || return 1
    [[ ${said%%$'\r'*} == *" 200 "* ]]
}

# Reads Prometheus' data until the time is over and nothing is missing.
measure() {
    local end=$((SECONDS + seconds)) limit=$((SECONDS + seconds + late_s)) next=$((SECONDS + 15)) left
    while :; do
        kill -0 "$prometheus" 2>/dev/null || fail "Prometheus ended"
        if [ "$SECONDS" -ge "$end" ]; then
            look
            if [ ! -s "$dir/missing" ] || [ "$SECONDS" -ge "$limit" ]; then
                return
            fi
        elif [ "$SECONDS" -ge "$next" ]; then
            look
            left=$((end - SECONDS))
            echo "    $left s left, missing values: $(grep -c '' "$dir/missing" || true)"
            next=$((SECONDS + 15))
        fi
        sleep 1
    done
}

# Reads Prometheus' data, and makes $dir/table and $dir/missing from it.
look() {
    local families='up|iperf3_up|iperf3_failure_info|iperf3_bandwidth_bytes_per_second'
    families+='|iperf3_interval_bandwidth_bytes_per_second|iperf3_packet_loss_ratio|iperf3_tcp_rtt_mean_seconds'
    families+='|iperf3_tcp_retransmits|iperf3_exporter_test_bytes_total|iperf3_result_age_seconds|ALERTS'
    families+='|iperf3_bandwidth_upload_mbps|iperf3_bandwidth_download_mbps'
    local hosts='' host alerts=0
    for host in "${!names[@]}"; do
        hosts+="${names[host]} ${addresses[host]} ${server_ports[host]} ${exporter_ports[host]} "
    done
    compgen -G "$dir/etc/alerts*.yml" >/dev/null && alerts=1
    # It fails as long as there is no data.
    promtool query instant "$prometheus_url" "{__name__=~\"$families\"}" >"$dir/snapshot" 2>"$dir/query.log" ||
        : >"$dir/snapshot"
    awk -v hosts="$hosts" -v dead_port="$dead_port" -v alerts="$alerts" -v missing_file="$dir/missing" \
        -f contrib/demo/demo-fleet.awk "$dir/snapshot" >"$dir/table"
    # Two targets that are the same exporter would write the same series, and the mistake would stay invisible.
    local pools
    pools=$(answer "/api/v1/targets?state=active" | grep -o '"scrapePool":"iperf3-exporter"' | grep -c '') || true
    [ "$pools" -eq "${#names[@]}" ] ||
        echo "Prometheus scrapes $pools exporters instead of ${#names[@]}" >>"$dir/missing"
}

# The result, with the logs after a failure.
judge() {
    # Two series that should be one, or a rule that fails with several exporters, is a mistake in the shipped files.
    grep -E 'Evaluating rule failed|Error on ingesting' "$dir/prometheus.log" >>"$dir/missing" || true
    if [ -s "$dir/missing" ]; then
        echo
        show_logs
        echo "demo-fleet.sh: failed, these values are missing or wrong:" >&2
        sed 's/^/    /' "$dir/missing" >&2
    else
        verdict=0
        echo
        echo "Nothing is missing: each direction of each pair, the target that is down, the rules."
    fi
}

keep() {
    [ -n "${KEEP:-}" ] || return 0
    echo "KEEP: the demo runs until you press Ctrl-C."
    trap 'exit "$verdict"' INT TERM
    while kill -0 "$prometheus" 2>/dev/null; do sleep 1; done
}

# wait_until PROCESS COMMAND ...: waits until the command succeeds; gives up when the process is gone, or after
# wait_steps.
wait_until() {
    local process=$1 step
    shift
    for ((step = 0; step < wait_steps; step++)); do
        if "$@"; then return 0; fi
        kill -0 "$process" 2>/dev/null || return 1
        sleep "$step_s"
    done
    return 1
}

# Ends all processes, with SIGTERM first, and reaps them, in reverse order: an exporter ends its test when it exits and
# tells the server, and a namespace must outlive its processes.
end_all() {
    local at step
    for ((at = ${#started[@]} - 1; at >= 0; at--)); do
        kill "${started[at]}" 2>/dev/null || true
    done
    for ((at = ${#started[@]} - 1; at >= 0; at--)); do
        for ((step = 0; step < wait_steps; step++)); do
            kill -0 "${started[at]}" 2>/dev/null || break
            sleep "$step_s"
        done
        kill -9 "${started[at]}" 2>/dev/null || true
        wait "${started[at]}" 2>/dev/null || true
    done
    started=()
    # The kernel removes it with the namespace of its other end, but with a delay.
    [ -z "$link" ] || ip link delete "$link" 2>/dev/null || true
    link=
}

show_logs() {
    local log
    for log in "$dir"/*.log; do
        [ -s "$log" ] || continue
        echo "--- $(basename "$log")" >&2
        tail -n 8 "$log" >&2
    done
    echo "---" >&2
}

fail() {
    [ -z "$dir" ] || show_logs
    echo "demo-fleet.sh: $1" >&2
    exit 1
}

clean_up() {
    local status=$?
    trap '' HUP INT TERM PIPE # nothing interrupts the cleanup, which has its own time limit
    trap - EXIT
    end_all
    [ -z "$dir" ] || rm -rf "$dir"
    exit "$status"
}

main "$@"
