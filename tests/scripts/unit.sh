#!/bin/sh
# unit.sh: checks the systemd units without a running systemd. It runs `systemd-analyze verify` on the exporter's
# service and socket, on the iperf3 server's service, and on all of them with the drop-ins that their comments
# recommend. It checks that the exposure which `systemd-analyze security` computes for a service does not exceed its
# limit (a socket has an exposure too, but starts no process). Prints one line with the numbers, or one line that begins
# with SKIPPED: where the tool is missing. Runs from anywhere.
set -eu

readonly service=iperf3-exporter.service
readonly socket=iperf3-exporter.socket
readonly server=iperf3-server.service
# On a scale of 10, where 10 is a service with no hardening at all.
readonly max_exposure=2.0
readonly max_server_exposure=1.5

main() {
    cd "$(dirname "$0")/../.."
    if ! command -v systemd-analyze >/dev/null 2>&1; then
        echo "SKIPPED: $service was not verified: no systemd-analyze here"
        exit 0
    fi
    # --offline came with systemd 250.
    help=$(systemd-analyze --help 2>/dev/null || true)
    case $help in
        *--offline*) ;;
        *)
            echo "SKIPPED: $service was not verified: this systemd-analyze is older than 250"
            exit 0
            ;;
    esac

    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    # verify requires the binary, which is not installed here: the copies name a placeholder.
    printf '#!/bin/sh\n' >"$dir/iperf3-exporter"
    chmod 755 "$dir/iperf3-exporter"
    copy "$service"
    copy "contrib/$socket"
    verify "$service"
    verify "$socket"
    copy "contrib/$server"
    verify "$server"
    exposure=$(exposure_of "$service" "$max_exposure")
    server_exposure=$(exposure_of "$server" "$max_server_exposure")

    # Each drop-in of the comments separately.
    drop_in "$service" "$service" 1 '^SupplementaryGroups='
    drop_in "$service" "$service" 2 '^LoadCredential='
    drop_in "$service" "contrib/$socket" 1 "^Requires=$socket"
    drop_in "$server" "contrib/$server" 1 '^IPAddressAllow='
    drop_in "$server" "contrib/$server" 2 '^LoadCredential='

    echo "$service: verified, exposure $exposure (limit $max_exposure); $socket: verified;" \
        "$server: verified, exposure $server_exposure (limit $max_server_exposure)"
}

complain() {
    echo "unit.sh: $1" >&2
    exit 1
}

# Copies the unit $1.
copy() {
    sed "s|^ExecStart=[^ ]*|ExecStart=$dir/iperf3-exporter|" "$1" >"$dir/${1##*/}"
}

# Verifies the unit $1 with drop-in number $3 from the comments of $2, whose only line must match $4. A drop-in is the
# indented text after a comment line that has only a section's name, up to the first line that is indented less.
drop_in() {
    mkdir -p "$dir/$1.d"
    dropped=$dir/$1.d/check.conf
    awk -v wanted="$3" '
        match($0, /^# +\[(Unit|Service)\]$/) {
            depth = index($0, "[") - 1
            number++
            inside = 1
        }
        inside && (substr($0, 1, 1) != "#" || substr($0, 2, depth - 1) !~ /^ +$/ || length($0) <= depth) { inside = 0 }
        inside && number == wanted { print substr($0, depth + 1) }
    ' "$2" | sed "s|^ExecStart=[^ ][^ ]*|ExecStart=$dir/iperf3-exporter|" >"$dropped"
    grep -q "$4" "$dropped" || complain "drop-in $3 of the comments of $2 has no line $4"
    verify "$1"
}

# --recursive-errors=no ignores errors in other units of this machine. verify exits 0 after mere warnings, and an
# unknown setting is one: any line about these units fails the check.
verify() {
    status=0
    said=$(systemd-analyze verify --man=no --recursive-errors=no "$dir/$1" 2>&1) || status=$?
    case $status:$said in
        0:*iperf3-exporter* | 0:*iperf3-server* | [!0]*)
            printf '%s\n' "$said" >&2
            complain "systemd-analyze verify does not pass $1 (exit status $status)"
            ;;
    esac
}

# The exposure of the service $1, which must not exceed $2.
exposure_of() {
    if ! said=$(LC_ALL=C systemd-analyze security --no-pager --offline=yes "$dir/$1" 2>&1); then
        printf '%s\n' "$said" >&2
        complain "systemd-analyze security does not read $1"
    fi
    number=$(printf '%s\n' "$said" | sed -n 's/.*Overall exposure level for [^ ]*: \([0-9.]*\).*/\1/p')
    if [ -z "$number" ]; then
        printf '%s\n' "$said" >&2
        complain "systemd-analyze security printed no exposure for $1"
    fi
    if awk "BEGIN { exit !($number > $2) }"; then complain "the exposure of $1 is $number, and the limit is $2"; fi
    echo "$number"
}

main
