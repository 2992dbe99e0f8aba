#!/bin/sh
# boot.sh: boots a Debian with a real systemd in a container, and lives there with the .deb as an operator would:
# installs it by apt; looks that the unit's hardening holds, and probes an iperf3 server under it; stops the service in
# the middle of a test; kills it, and starts it on a port that is in use, which systemd mends; gives it a wrong flag,
# which systemd does not try again; upgrades and purges. Removes all that it made, except for the base's archive under
# target/, which saves a minute the next time.
#     BIN=path   the binary, instead of a static one that is built; it has to run on that Debian
# Prints one line that begins with SKIPPED: where it cannot be done.
set -eu

readonly name=iperf3-exporter
readonly box=iperf3-exporter-boot-$$
readonly target=x86_64-unknown-linux-musl
readonly old=0.0.1 new=99.0.0 # whatever the version of Cargo.toml is
readonly url=http://127.0.0.1:9579
readonly flags=/etc/default/$name

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
    check_hardening
    check_probes
    check_stop
    check_mended
    check_wrong_flag
    check_upgrade
    check_purge
    version=$(inside systemctl --version | sed -n 1p)
    echo "$version: installed, probed under the unit's hardening, stopped within a test, restarted after a kill and" \
        "not after a wrong flag, upgraded, purged"
}

skip() {
    echo "SKIPPED: nothing was tried under a real systemd: $1"
    exit 0
}

# $1 is the reason; the words of the last command, the service's state and its log go before it.
fail() {
    [ ! -s "$dir/said" ] || cat "$dir/said" >&2
    if docker container inspect "$box" >/dev/null 2>&1; then
        docker logs "$box" >&2 || true
        inside systemctl status --no-pager --lines=0 $name >&2 || true
        inside journalctl --no-pager --lines=50 --unit=$name >&2 || true
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
        # A folder of its own, as other tests make packages as well.
        STAGE=$dir/stage VERSION=$version CARGO_TARGET_DIR=$dir/made \
            sh contrib/packaging/packages.sh deb "$target" >"$dir/said" 2>&1 || fail "packages.sh failed"
        mv "$(tail -n 1 "$dir/said")" "$dir/$version.deb"
    done
}

# All capabilities but the one that some engines have not themselves. systemd has to write to its groups of processes,
# which Docker mounts read-only.
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
    # Built on a newer system it may want a newer C library.
    [ -z "${BIN:-}" ] || { docker cp "$BIN" "$box:/opt/binary" && inside /opt/binary --version; } >"$dir/said" 2>&1 ||
        skip "the binary does not run on that Debian: $(tail -n 1 "$dir/said")"
    inside systemd-run --quiet --unit=server iperf3 -s || fail "no server"
}

has_booted() {
    # Degraded: a unit that no exporter needs.
    case $(inside systemctl is-system-running 2>/dev/null) in running | degraded) ;; *) return 1 ;; esac
}

inside() {
    docker exec "$box" "$@"
}

# The property $1 of the service.
show() {
    inside systemctl show --property="$1" --value $name
}

is() {
    [ "$(show "$1")" = "$2" ]
}

apt() {
    inside env DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Options::=--force-confold "$@" >"$dir/said" 2>&1 ||
        fail "apt-get $* failed"
}

# The page $1.
get() {
    inside curl --silent --show-error --max-time 60 "$url$1" >"$dir/said" 2>&1
}

# The rest are flags.
set_flags() {
    # shellcheck disable=SC2016 # the inner shell's
    inside sh -c 'echo "ARGS=\"$1\"" >"$2"' sh "$*" "$flags"
}

check_install() {
    apt install "/opt/$old.deb"
    is ActiveState active || fail "the package does not start the service"
    is UnitFileState enabled || fail "the package does not enable the service"
    get /health || fail "no answer behind the installation"
    grep -qx OK "$dir/said" || fail "it is not well"
}

check_hardening() {
    pid=$(show MainPID)
    inside cat "/proc/$pid/status" >"$dir/said"
    # No capability, no way to get one, a filter of system calls.
    for line in 'CapEff 0000000000000000' 'CapBnd 0000000000000000' 'NoNewPrivs 1' 'Seccomp 2'; do
        [ "$(sed -n "s/^${line% *}:[[:space:]]*//p" "$dir/said")" = "${line#* }" ] || fail "not hardened: $line"
    done
    ! grep -q '^Uid:[[:space:]]*0' "$dir/said" || fail "it runs as root"
    ! inside nsenter --target "$pid" --mount touch /etc/x 2>/dev/null || fail "/etc can be written to"
}

check_probes() {
    for mode in '' '&reverse_mode=true' '&udp_mode=true&parallel=4'; do
        get "/probe?target=127.0.0.1&period=1s$mode" || fail "no answer to $mode"
        grep -q '^iperf3_up{.*} 1$' "$dir/said" || fail "the probe failed: $mode"
    done
    inside journalctl --no-pager --unit=$name >"$dir/said"
    ! grep -q 'level=\(warn\|error\)' "$dir/said" || fail "the log has a warning"
}

# The end of the service is in order, and the server is free again: no client was killed.
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
    get '/probe?target=127.0.0.1&period=1s' || fail "no answer after a restart"
    grep -q '^iperf3_up{.*} 1$' "$dir/said" || fail "the server is not free after a stop"
}

is_testing() {
    get /lock-status && grep -q '"is_locked":[[:space:]]*true' "$dir/said" &&
        inside pgrep --full 'iperf3 .*-c' >/dev/null
}

# What may pass by itself: systemd tries again.
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

# What no restart mends. When systemd would try again, the state were activating.
check_wrong_flag() {
    set_flags --no-such-flag
    ! inside systemctl restart $name 2>"$dir/said" || fail "it starts with a wrong flag"
    state="$(show ActiveState), restarts $(show NRestarts), status $(show ExecMainStatus)"
    [ "$state" = 'failed, restarts 0, status 2' ] || fail "with a wrong flag it is $state"
    inside journalctl --no-pager --unit=$name --lines=20 >"$dir/said"
    grep -q 'no-such-flag' "$dir/said" || fail "the log does not name the flag"
    set_flags --lock.timeout=70s
    inside systemctl start $name || fail "it does not start with the flag mended"
}

check_upgrade() {
    before=$(show MainPID)
    apt install "/opt/$new.deb"
    is ActiveState active || fail "it is not active after an upgrade"
    [ "$(show MainPID)" != "$before" ] || fail "an upgrade leaves the old one running"
    inside grep -q lock.timeout=70s "$flags" || fail "an upgrade overwrote $flags"
    get '/probe?target=127.0.0.1&period=1s' || fail "no answer after an upgrade"
    grep -q '^iperf3_up{.*} 1$' "$dir/said" || fail "the probe failed after an upgrade"
}

check_purge() {
    apt purge $name
    is LoadState not-found || fail "the unit is still there: $(show LoadState)"
    ! inside pgrep --exact $name >"$dir/said" || fail "it still runs"
    inside find /etc /usr /var/lib/systemd -name "*$name*" >"$dir/said"
    [ ! -s "$dir/said" ] || fail "a purge leaves files"
}

main
