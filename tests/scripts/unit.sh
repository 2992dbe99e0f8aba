#!/bin/sh
# unit.sh: checks the systemd unit without a running systemd: `systemd-analyze verify`, and that the exposure
# `systemd-analyze security` computes is not above the limit. Prints one line with that number, or one line
# that begins with SKIPPED: where the tool is not there. Runs from anywhere.
set -eu

readonly unit=iperf3-exporter.service
readonly max_exposure=2.0 # of 10, where 10 is a service with no hardening at all

cd "$(dirname "$0")/../.."
if ! command -v systemd-analyze >/dev/null 2>&1; then
    echo "SKIPPED: $unit was not verified: no systemd-analyze here"
    exit 0
fi
# --offline came with systemd 250.
help=$(systemd-analyze --help 2>/dev/null || true)
case $help in
    *--offline*) ;;
    *)
        echo "SKIPPED: $unit was not verified: this systemd-analyze is older than 250"
        exit 0
        ;;
esac

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# verify wants the binary to be there, and it is not installed: a copy of the unit points at a stand-in.
printf '#!/bin/sh\n' >"$dir/iperf3-exporter"
chmod 755 "$dir/iperf3-exporter"
sed "s|^ExecStart=[^ ]*|ExecStart=$dir/iperf3-exporter|" "$unit" >"$dir/$unit"

# Without --recursive-errors=no, what is wrong with other units of this machine would count as well.
# verify exits 0 after mere warnings, and an unknown setting is one: a line about this unit fails the check.
status=0
said=$(systemd-analyze verify --man=no --recursive-errors=no "$dir/$unit" 2>&1) || status=$?
case $status:$said in
    0:*"$unit"* | [!0]*)
        printf '%s\n' "$said" >&2
        echo "unit.sh: systemd-analyze verify does not pass $unit (exit status $status)" >&2
        exit 1
        ;;
esac

if ! said=$(LC_ALL=C systemd-analyze security --no-pager --offline=yes "$dir/$unit" 2>&1); then
    printf '%s\n' "$said" >&2
    echo "unit.sh: systemd-analyze security does not read $unit" >&2
    exit 1
fi
exposure=$(printf '%s\n' "$said" | sed -n 's/.*Overall exposure level for [^ ]*: \([0-9.]*\).*/\1/p')
if [ -z "$exposure" ]; then
    printf '%s\n' "$said" >&2
    echo "unit.sh: systemd-analyze security printed no exposure for $unit" >&2
    exit 1
fi
if awk "BEGIN { exit !($exposure > $max_exposure) }"; then
    printf '%s\n' "$said" >&2
    echo "unit.sh: the exposure of $unit is $exposure, and the limit is $max_exposure" >&2
    exit 1
fi
echo "$unit: verified, exposure $exposure (limit $max_exposure)"
