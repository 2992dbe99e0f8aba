#!/bin/sh
# boot.sh: boots a Debian with a real systemd in a container, and uses the .deb as an operator would. It installs the
# package with apt, and the iperf3 server's unit from the package's examples. It checks the hardening of both units, and
# probes the server. It stops the service during a test. It kills the exporter and the server, and starts them on a port
# in use, all of which systemd must recover from. It gives the exporter a wrong flag, after which systemd must not
# restart it. Then it upgrades and purges. It removes all that it made, except for the archive of the base under
# target/, which saves a minute the next time.
#     BIN=path   the binary, instead of a static build; it must run on that Debian
# Prints one line that begins with SKIPPED: where it cannot run.
set -eu

readonly name=iperf3-exporter
readonly server=iperf3-server # the other unit
readonly box=iperf3-exporter-boot-$$
readonly target=x86_64-unknown-linux-musl
readonly old=0.0.1 new=99.0.0 # below and above any version of Cargo.toml
readonly url=http://127.0.0.1:9579
readonly flags=/etc/default/$name
readonly units=/etc/systemd/system

dir=''

main() {
    cd "$(dirname "$0")/../.."
    . tests/scripts/containers.sh
    need_engine
    [ "$(uname -m)" = x86_64 ] || skip "the package is made for x86_64, and this is $(uname -m)"

    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    dir=$(mktemp -d)

    make_packages
    boot
    check_install
    install_server
    check_hardening $name
    check_hardening $server
    check_probes
    check_stop
    check_mended
    check_server_mended
    check_server_stop
    check_second_server
    check_wrong_flag
    check_upgrade
    check_purge
    version=$(inside systemctl --version | sed -n 1p)
    echo "$version: installed, probed over $families under the hardening of both units, stopped within a test, the" \
        "server restarted after each crash, the exporter restarted after a kill and not after a wrong flag, upgraded," \
        "purged"
}

skip() {
    echo "SKIPPED: nothing was tried under a real systemd: $1"
    exit 0
}

# $1 is the reason; the output of the last command, the service's state and its log are printed before it.
fail() {
    [ ! -s "$dir/said" ] || cat "$dir/said" >&2
    if docker container inspect "$box" >/dev/null 2>&1; then
        docker logs "$box" >&2 || true
        inside systemctl status --no-pager --lines=0 $name $server >&2 || true
        inside journalctl --no-pager --lines=50 --unit=$name --unit=$server >&2 || true
    fi
    echo "boot.sh: $1" >&2
    exit 1
}

clean_up() {
    docker rm -f -v "$box" >/dev/null 2>&1 || true
    docker rmi "$box" >/dev/null 2>&1 || true
    [ -z "$dir" ] || rm -rf "$dir"
}

# Two versions of one stage.
make_packages() {
    sh contrib/packaging/need.sh dpkg-deb >"$dir/said" 2>&1 || skip_or_fail "no dpkg-deb here"
    sh contrib/packaging/stage.sh "$target" "$dir/stage" >"$dir/said" 2>&1 ||
        skip_or_fail "stage.sh failed: $(tail -n 1 "$dir/said")"
    for version in $old $new; do
        # A separate folder, as other tests make packages as well.
        STAGE=$dir/stage VERSION=$version CARGO_TARGET_DIR=$dir/made \
            sh contrib/packaging/packages.sh deb "$target" >"$dir/said" 2>&1 || fail "packages.sh failed"
        mv "$(tail -n 1 "$dir/said")" "$dir/$version.deb"
    done
}

# All capabilities except one that some engines lack themselves. systemd must write to its control groups, which Docker
# mounts read-only.
boot() {
    archive=${CARGO_TARGET_DIR:-target}/boot-base.tar
    said=$(sh tests/scripts/debian-base.sh "$archive" systemd-sysv,iperf3,curl,procps | tail -n 1)
    [ -s "$archive" ] || skip_or_fail "$said"
    docker import "$archive" "$box" >"$dir/said" 2>&1 || fail "docker import failed"
    # shellcheck disable=SC2016 # the inner shell's
    docker run -d --name "$box" --network none --cap-add=ALL --cap-drop=SYS_RESOURCE --cgroupns=private \
        --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined \
        --tmpfs /run --tmpfs /tmp:exec --env container=docker "$box" sh -c '
            for mounted in $(sed -n "s|^[^ ]* \(/sys/fs/cgroup[^ ]*\) cgroup.*|\1|p" /proc/mounts); do
                mount -o remount,bind,rw "$mounted"
            done
            exec /sbin/init' >"$dir/said" 2>&1 ||
        skip "the engine does not start a container with the rights of a systemd: $(tail -n 1 "$dir/said")"
    wait_until has_booted || fail "systemd does not boot"
    for version in $old $new; do
        docker cp "$dir/$version.deb" "$box:/opt/$version.deb" >"$dir/said" 2>&1 || fail "docker cp failed"
    done
    # A binary built on a newer system may need a newer C library.
    [ -z "${BIN:-}" ] || { docker cp "$BIN" "$box:/opt/binary" && inside /opt/binary --version; } >"$dir/said" 2>&1 ||
        skip "the binary does not run on that Debian: $(tail -n 1 "$dir/said")"
    # Docker disables IPv6 where it makes no network.
    families=IPv4
    if inside sh -c 'echo 0 >/proc/sys/net/ipv6/conf/lo/disable_ipv6 && grep -q . /proc/net/if_inet6' 2>/dev/null; then
        families='IPv4 and IPv6'
    fi
}

has_booted() {
    # Degraded: a unit failed that the exporter does not need.
    case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) ;; *) return 1 ;; esac
}

inside() {
    docker exec "$box" "$@"
}

# The property $1 of the service, or of the unit $2.
show() {
    inside systemctl show --property="$1" --value "${2:-$name}"
}

# is PROPERTY VALUE [UNIT]
is() {
    [ "$(show "$1" "${3:-$name}")" = "$2" ]
}

apt() {
    inside env DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Options::=--force-confold "$@" >"$dir/said" 2>&1 ||
        fail "apt-get $* failed"
}

# Requests the page $1.
get() {
    inside curl --silent --show-error --max-time 60 "$url$1" >"$dir/said" 2>&1
}

# A probe of a second, of the target $1 with the parameters $2, must succeed; $3 says when.
probe() {
    get "/probe?target=$1&period=1s$2" || fail "no answer $3"
    grep -q '^iperf3_up{.*} 1$' "$dir/said" || fail "the probe failed $3"
}

# Writes the remaining arguments to the file $1, one per line.
write() {
    file=$1
    shift
    printf '%s\n' "$@" | docker exec -i "$box" tee "$file" >/dev/null
}

check_install() {
    apt install "/opt/$old.deb"
    is ActiveState active || fail "the package does not start the service"
    is UnitFileState enabled || fail "the package does not enable the service"
    get /health || fail "no answer after the installation"
    grep -qx OK "$dir/said" || fail "it is not healthy"
}

# Follows the unit's comments, with files from the package.
install_server() {
    inside cp "/usr/share/doc/$name/examples/$server.service" $units/ || fail "no $server.service in the package"
    inside systemctl daemon-reload
    inside systemctl enable --now $server 2>"$dir/said" || fail "the server's unit does not start"
    is UnitFileState enabled $server || fail "the server's unit is not enabled"
    wait_until listens 5201 || fail "no server listens"
    # Starting one of this unit and Debian's own stops the other.
    inside systemctl start iperf3 || fail "Debian's unit does not start"
    ! is ActiveState active $server || fail "Debian's server and this one run together"
    inside systemctl start $server || fail "the server's unit does not start again"
    ! is ActiveState active iperf3 || fail "this server and Debian's run together"
    wait_until listens 5201 || fail "no server listens after Debian's"
}

# Whether something listens on the port $1.
listens() {
    inside grep -Eqs ":$(printf '%04X' "$1") [0-9A-F]+:0000 0A" /proc/net/tcp /proc/net/tcp6
}

# Checks the unit $1.
check_hardening() {
    pid=$(show MainPID "$1")
    inside cat "/proc/$pid/status" >"$dir/said"
    # No capabilities, no way to gain any, a system call filter.
    for line in 'CapEff 0000000000000000' 'CapBnd 0000000000000000' 'NoNewPrivs 1' 'Seccomp 2'; do
        [ "$(sed -n "s/^${line% *}:[[:space:]]*//p" "$dir/said")" = "${line#* }" ] || fail "$1 is not hardened: $line"
    done
    ! grep -q '^Uid:[[:space:]]*0' "$dir/said" || fail "$1 runs as root"
    ! inside nsenter --target "$pid" --mount touch /etc/x 2>/dev/null || fail "$1 can write to /etc"
}

check_probes() {
    for mode in '' '&reverse_mode=true' '&udp_mode=true&parallel=4'; do
        probe 127.0.0.1 "$mode" "with ${mode:-no parameter}"
        [ "$families" = IPv4 ] || probe ::1 "$mode" "over IPv6 with ${mode:-no parameter}"
    done
    inside journalctl --no-pager --unit=$name >"$dir/said"
    ! grep -q 'level=\(warn\|error\)' "$dir/said" || fail "the log has a warning"
}

# The service stops cleanly, and the server is free again: its client was not killed.
check_stop() {
    inside curl --silent --output /dev/null "$url/probe?target=127.0.0.1&period=60s" &
    client=$!
    wait_until is_testing || fail "no test runs"
    inside systemctl stop $name || fail "it does not stop"
    wait "$client" || true
    state="$(show ActiveState), $(show Result), status $(show ExecMainStatus)"
    [ "$state" = 'inactive, success, status 0' ] || fail "stopped within a test it is $state"
    ! inside pgrep --full 'iperf3 .*-c' >"$dir/said" || fail "a client is left"
    inside systemctl start $name || fail "it does not start again"
    probe 127.0.0.1 '' "after a stop in the middle of a test"
}

is_testing() {
    get /lock-status && grep -q '"is_locked":[[:space:]]*true' "$dir/said" &&
        inside pgrep --full 'iperf3 .*-c' >/dev/null
}

# Temporary errors: systemd restarts the service.
check_mended() {
    inside systemctl kill --signal=KILL $name
    wait_until is NRestarts 1 || fail "it is not restarted after a kill"
    wait_until is ActiveState active || fail "it is not active after a kill"

    inside systemctl stop $name
    inside systemd-run --quiet --unit=taker iperf3 -s -p 9579
    ! inside systemctl start $name 2>"$dir/said" || fail "it starts on a port that is in use"
    wait_until is SubState auto-restart || fail "it is not tried again on a port that is in use"
    inside systemctl stop taker
    wait_until is ActiveState active || fail "it is not active once the port is free"
}

# After a crash the server is up for the next probe, and a crash during a test is one failed probe.
check_server_mended() {
    for signal in KILL SEGV; do
        restarts=$(show NRestarts $server)
        inside curl --silent "$url/probe?target=127.0.0.1&period=60s" >"$dir/cut" &
        client=$!
        wait_until is_measuring || fail "no test runs before a $signal"
        inside systemctl kill --signal=$signal $server
        wait "$client" || fail "no answer to a probe whose server got a $signal"
        grep -q '^iperf3_failure_info{.*reason="interrupted".*} 1$' "$dir/cut" ||
            fail "a server that got a $signal is not: interrupted: $(grep '^iperf3_failure_info' "$dir/cut")"
        wait_until is NRestarts $((restarts + 1)) $server || fail "the server is not restarted after a $signal"
        wait_until listens 5201 || fail "the server does not listen after a $signal"
        probe 127.0.0.1 '' "after the server got a $signal"
    done

    # More restarts in a row than systemd's default limit allows, which is five in ten seconds.
    inside systemctl stop $server
    inside systemd-run --quiet --unit=taker-5201 iperf3 -s
    wait_until listens 5201 || fail "nothing takes the server's port"
    inside mkdir -p /run/systemd/system/$server.service.d
    write /run/systemd/system/$server.service.d/fast.conf '[Service]' RestartSec=50ms
    inside systemctl daemon-reload
    inside systemctl start $server
    wait_until has_restarted 10 || fail "systemd gave up the server on a port in use"
    inside systemctl stop taker-5201
    wait_until is SubState running $server || fail "no server once the port is free"
    wait_until listens 5201 || fail "no server listens once the port is free"
    probe 127.0.0.1 '' "after the server's port was in use"
}

# Whether the server has both connections of a test; 0x1451 is 5201.
is_measuring() {
    [ "$(inside grep -Ehs ':1451 [0-9A-F]+:[0-9A-F]+ 01' /proc/net/tcp /proc/net/tcp6 | wc -l)" -ge 2 ]
}

# Whether the server was restarted at least $1 times.
has_restarted() {
    [ "$(show NRestarts $server)" -ge "$1" ]
}

# iperf3's exit after a SIGTERM is no failure, although its status is 1.
check_server_stop() {
    inside systemctl stop $server || fail "the server does not stop"
    state="$(show ActiveState $server), $(show Result $server)"
    [ "$state" = 'inactive, success' ] || fail "the stopped server is $state"
    inside systemctl start $server || fail "the server does not start again"
}

# A copy of the unit has its own flags.
check_second_server() {
    inside cp $units/$server.service $units/$server-5202.service
    write /etc/default/$server-5202 'ARGS="--port 5202"'
    inside systemctl daemon-reload
    inside systemctl start $server-5202 || fail "a second server does not start"
    wait_until listens 5202 || fail "no second server listens"
    probe 127.0.0.1 '&port=5202' "of the second server"
    is ActiveState active $server || fail "the second server stopped the first one"
    inside systemctl stop $server-5202
}

# An error that no restart can repair. If systemd restarted the service, the state would be activating.
check_wrong_flag() {
    write "$flags" 'ARGS="--no-such-flag"'
    ! inside systemctl restart $name 2>"$dir/said" || fail "it starts with a wrong flag"
    state="$(show ActiveState), restarts $(show NRestarts), status $(show ExecMainStatus)"
    [ "$state" = 'failed, restarts 0, status 2' ] || fail "with a wrong flag it is $state"
    inside journalctl --no-pager --unit=$name --lines=20 >"$dir/said"
    grep -q 'no-such-flag' "$dir/said" || fail "the log does not name the flag"
    write "$flags" 'ARGS="--lock.timeout=70s"'
    inside systemctl start $name || fail "it does not start with the flag repaired"
}

check_upgrade() {
    before=$(show MainPID)
    apt install "/opt/$new.deb"
    is ActiveState active || fail "it is not active after an upgrade"
    [ "$(show MainPID)" != "$before" ] || fail "after an upgrade the old one still runs"
    inside grep -q lock.timeout=70s "$flags" || fail "an upgrade overwrote $flags"
    probe 127.0.0.1 '' "after an upgrade"
}

check_purge() {
    apt purge $name
    is LoadState not-found || fail "the unit is still there: $(show LoadState)"
    ! inside pgrep --exact $name >"$dir/said" || fail "it still runs"
    inside find /etc /usr /var/lib/systemd -name "*$name*" >"$dir/said"
    [ ! -s "$dir/said" ] || fail "a purge leaves files"
}

main
