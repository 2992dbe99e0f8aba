#!/bin/sh
# need.sh [--wanted] COMMAND ...: makes sure that each COMMAND (iperf3, promtool, ...) is on PATH, and installs missing
# ones with the system's package manager. Prints and changes nothing if all are there. When it cannot, it exits 1, with
# one line that names the missing commands and how to install them by hand.
# --wanted: a command that is not available is named in one line, and is not a failure. After that the network is not
# used for a day, so that a machine without the command does not wait each time.
set -eu

readonly policy=/usr/sbin/policy-rc.d
readonly policy_mark='Written by need.sh of iperf3-exporter'
readonly lock_wait_s=120 # another apt-get, such as the unattended upgrades, may hold dpkg's lock that long

main() {
    if [ "${1:-}" = --wanted ]; then
        shift
        wanted "$@"
        exit 0
    fi
    [ $# -gt 0 ] || { echo "usage: need.sh [--wanted] COMMAND ..." >&2; exit 2; }
    missing=$(missing_of "$@")
    [ -n "$missing" ] || exit 0

    manager=$(first_of apt-get dnf apk pacman zypper opkg brew)
    [ -n "$manager" ] || give_up "no package manager that this script knows is here; install it by hand"
    packages=$(packages_of "$missing")
    by_hand="$(install_command) $packages"

    become=
    # Homebrew refuses to run as root; the other package managers need root.
    if [ "$(id -u)" -ne 0 ] && [ "$manager" != brew ]; then
        become=$(first_of sudo doas)
        [ -n "$become" ] || give_up "you are not root, and neither sudo nor doas is here; as root: $by_hand"
    fi

    echo "need.sh: installing $packages with $manager" >&2
    # The signal is caught so that this shell outlives install_packages, whose output it reads and which must clean up.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # A package manager's output matters only after a failure, and then in full.
    if ! output=$(install_packages 2>&1); then
        printf '%s\n' "$output" >&2
        give_up "$manager failed (its output is above); by hand: ${become:+$become }$by_hand"
    fi
    hash -r # the shell may have cached that a command was missing
    still=$(missing_of "$@")
    [ -z "$still" ] || { missing=$still; give_up "$manager installed $packages, but that did not bring it"; }
}

give_up() {
    echo "need.sh: missing: $missing: $1" >&2
    exit 1
}

# All at once, which is fastest; one unavailable command must not prevent the others.
wanted() {
    missing=$(missing_of "$@")
    [ -n "$missing" ] || return 0
    marks=${CARGO_TARGET_DIR:-target}/wanted
    mkdir -p "$marks"
    # Commands that were unavailable a moment ago are named again, but not tried.
    tried=
    for name in $missing; do
        [ -n "$(find "$marks/$name" -mmin -1440 2>/dev/null)" ] || tried="$tried $name"
    done
    if [ -n "$tried" ]; then
        echo "need.sh: installing the packages of$tried" >&2
        # shellcheck disable=SC2086 # several words
        sh "$0" $tried >/dev/null 2>&1 || for name in $tried; do
            NEED_LISTS_ARE_NEW=yes sh "$0" "$name" >/dev/null 2>&1 || : >"$marks/$name"
        done
    fi
    for name in $(missing_of "$@"); do
        echo "need.sh: $name is not available here: tests that need it print SKIPPED (the reason: sh $0 $name)" >&2
    done
}

# The arguments that are not commands on PATH, separated by blanks.
missing_of() {
    list=
    for name in "$@"; do
        command -v "$name" >/dev/null 2>&1 || list="$list${list:+ }$name"
    done
    echo "$list"
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

# The packages with the commands of the list $1, each once.
packages_of() {
    list=
    for name in $1; do
        package=$(package_of "$name")
        case " $list " in
            *" $package "*) ;;
            *) list="$list${list:+ }$package" ;;
        esac
    done
    echo "$list"
}

# Only the names that differ from the command's.
package_of() {
    case $manager:$1 in
        dnf:prometheus | dnf:promtool) echo golang-github-prometheus ;;
        zypper:prometheus | zypper:promtool) echo golang-github-prometheus-prometheus ;;
        *:promtool) echo prometheus ;;
        zypper:iperf3) echo iperf ;;
        dnf:shellcheck | zypper:shellcheck) echo ShellCheck ;;
        *:systemd-analyze | *:systemd-socket-activate) echo systemd ;;
        apt-get:rpmbuild) echo rpm ;;
        *:rpmbuild) echo rpm-build ;;
        *:dpkg-deb) echo dpkg ;;
        *:qemu-aarch64 | *:qemu-arm) echo qemu-user ;;
        dnf:ss | dnf:ip) echo iproute ;;
        dnf:tc) echo iproute-tc ;;
        opkg:ip) echo ip-full ;;
        opkg:tc) echo tc-full ;;
        opkg:ss) echo ss ;;
        *:ss | *:ip | *:tc) echo iproute2 ;;
        *:unshare | *:nsenter | *:setpriv) echo util-linux ;;
        *:lexgrog) echo man-db ;;
        apt-get:java) echo default-jre-headless ;;
        dnf:java) echo java-latest-openjdk-headless ;;
        pacman:java) echo jre-openjdk-headless ;;
        apk:java) echo openjdk21-jre-headless ;;
        zypper:java) echo java-21-openjdk-headless ;;
        apk:pip3) echo py3-pip ;;
        pacman:pip3) echo python-pip ;;
        *:pip3) echo python3-pip ;;
        *) echo "$1" ;;
    esac
}

# The command for a person; install_packages runs the same without questions.
install_command() {
    case $manager in
        apk) echo "apk add" ;;
        pacman) echo "pacman -S" ;;
        *) echo "$manager install" ;;
    esac
}

# $become and $packages are split at blanks on purpose: empty, or several words.
# shellcheck disable=SC2086
install_packages() {
    case $manager in
        apt-get) install_with_apt ;;
        dnf) $become dnf install -y --setopt=install_weak_deps=False $packages ;;
        apk) $become apk add --no-cache $packages ;;
        # -Sy without -u can leave Arch half upgraded when a package needs newer libraries, and -Syu upgrades the whole
        # system, which was not requested. So: the local package list first, and a newer list only after a failure.
        pacman) $become pacman -S --noconfirm --needed $packages ||
            $become pacman -Sy --noconfirm --needed $packages ;;
        zypper) $become zypper --non-interactive install --no-recommends $packages ;;
        opkg) $become opkg update && $become opkg install $packages ;;
        brew) HOMEBREW_NO_AUTO_UPDATE=1 brew install $packages ;;
    esac
}

# Debian starts the services of the packages that it installs: prometheus on :9090 at once and at each boot, and
# iperf3's server if its question was answered with yes. Tests need the programs and an otherwise unchanged machine.
# /usr/sbin/policy-rc.d is the documented way to prevent the start; RUNLEVEL=1 works only for init scripts, as
# deb-systemd-invoke ignores it. An existing policy belongs to the administrator and stays. This runs inside a command
# substitution, which is a subshell: its trap ends with it.
# shellcheck disable=SC2086
install_with_apt() {
    own_policy=
    trap 'remove_own_policy' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 141' PIPE # when the reader of the output is gone
    if grep -qs "$policy_mark" "$policy"; then
        own_policy=yes # left by a killed need.sh: used, then removed
    elif [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
        own_policy=yes # set before the file is written: a signal in between must not leave it behind
        $become sh -c "printf '%s\n' '#!/bin/sh' \
            '# $policy_mark, for the time of one apt-get install. If you read this later, remove it.' \
            'exit 101' >$policy && chmod 755 $policy"
    fi
    service_before=$(prometheus_service)

    # Continue if the package list cannot be fetched: the previous one may do.
    [ -n "${NEED_LISTS_ARE_NEW:-}" ] || $become env DEBIAN_FRONTEND=noninteractive apt-get update -qq || true
    $become env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o "DPkg::Lock::Timeout=$lock_wait_s" $packages || exit 1

    # The policy prevents the start, but not the symlink for the next boot.
    if [ "$service_before" = absent ] && [ "$(prometheus_service)" = present ]; then
        if command -v systemctl >/dev/null 2>&1; then
            $become systemctl disable prometheus.service || true
        else
            $become update-rc.d prometheus disable || true
        fi
    fi
}

prometheus_service() {
    for file in /lib/systemd/system/prometheus.service /usr/lib/systemd/system/prometheus.service \
        /etc/init.d/prometheus; do
        [ ! -e "$file" ] || { echo present; return; }
    done
    echo absent
}

# shellcheck disable=SC2086
remove_own_policy() {
    [ -z "$own_policy" ] || $become rm -f "$policy"
}

main "$@"
