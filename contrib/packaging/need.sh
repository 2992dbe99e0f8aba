#!/bin/sh
# need.sh [--wanted] COMMAND ...: makes sure that each COMMAND (iperf3, promtool, ...) is on PATH, and installs what is
# missing with the system's package manager. Prints nothing and touches nothing when all are there.
# Exits 1, with one line that names what is missing and how to get it by hand, when it cannot.
# --wanted: each that cannot be had is named in one line, and that is no failure; nothing is asked of the network for a
# day after that, so that a machine without one does not wait each time.
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
    # Homebrew refuses to run as root, and needs not to; the others need root.
    if [ "$(id -u)" -ne 0 ] && [ "$manager" != brew ]; then
        become=$(first_of sudo doas)
        [ -n "$become" ] || give_up "you are not root, and neither sudo nor doas is here; as root: $by_hand"
    fi

    echo "need.sh: installing $packages with $manager" >&2
    # Taken, so that this shell outlives install_packages, which it reads from and which has to clean up.
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    # What a package manager says is worth reading only when it failed, and then in full.
    if ! output=$(install_packages 2>&1); then
        printf '%s\n' "$output" >&2
        give_up "$manager failed (its words are above); by hand: ${become:+$become }$by_hand"
    fi
    hash -r # the shell may remember that a command was not there
    still=$(missing_of "$@")
    [ -z "$still" ] || { missing=$still; give_up "$manager installed $packages, but that did not bring it"; }
}

give_up() {
    echo "need.sh: missing: $missing: $1" >&2
    exit 1
}

# All at once, as that is fastest; one that is not to be had must not keep the others away.
wanted() {
    missing=$(missing_of "$@")
    [ -n "$missing" ] || return 0
    marks=${CARGO_TARGET_DIR:-target}/wanted
    mkdir -p "$marks"
    # Those that were not to be had a moment ago are named again, and not tried.
    tried=
    for name in $missing; do
        [ -n "$(find "$marks/$name" -mmin -1440 2>/dev/null)" ] || tried="$tried $name"
    done
    if [ -n "$tried" ]; then
        echo "need.sh: installing what holds$tried" >&2
        # shellcheck disable=SC2086 # several words
        sh "$0" $tried >/dev/null 2>&1 || for name in $tried; do
            NEED_LISTS_ARE_NEW=yes sh "$0" "$name" >/dev/null 2>&1 || : >"$marks/$name"
        done
    fi
    for name in $(missing_of "$@"); do
        echo "need.sh: $name cannot be had here: what wants it is skipped, and says so (sh $0 $name tells why)" >&2
    done
}

# The commands among the arguments that are not on PATH, with blanks between them.
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

# The packages that hold the commands of the list $1, each once.
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

# Only the names that differ from the command's are here.
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

# The command that a person types; install_packages says the same to the manager, without questions.
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
        # -Sy without -u can leave Arch half upgraded when a package wants newer libraries; -Syu upgrades the
        # whole system, which nobody asked for. So: what the local list of packages has, and a newer list
        # only when that failed.
        pacman) $become pacman -S --noconfirm --needed $packages ||
            $become pacman -Sy --noconfirm --needed $packages ;;
        zypper) $become zypper --non-interactive install --no-recommends $packages ;;
        opkg) $become opkg update && $become opkg install $packages ;;
        brew) HOMEBREW_NO_AUTO_UPDATE=1 brew install $packages ;;
    esac
}

# Debian starts the services of what it installs: prometheus on :9090 at once and at each boot, and iperf3's
# server when someone answered its question with yes. Tests want the programs, and a machine that is as it was.
# /usr/sbin/policy-rc.d is the documented way to say so; RUNLEVEL=1 works only for init scripts, as
# deb-systemd-invoke does not look at it. A policy that is there already is its administrator's and stays.
# This runs inside a command substitution, which is a subshell: its trap ends with it.
# shellcheck disable=SC2086
install_with_apt() {
    own_policy=
    trap 'remove_own_policy' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 141' PIPE # when nobody reads the words any more
    if grep -qs "$policy_mark" "$policy"; then
        own_policy=yes # of a need.sh that was killed: used, and removed
    elif [ ! -e "$policy" ] && [ ! -L "$policy" ]; then
        own_policy=yes # before it is written: a signal in between must not leave it behind
        $become sh -c "printf '%s\n' '#!/bin/sh' \
            '# $policy_mark, for the time of one apt-get install. If you read this later, remove it.' \
            'exit 101' >$policy && chmod 755 $policy"
    fi
    service_before=$(prometheus_service)

    # A list of packages that cannot be fetched is no reason to stop: the one from before may do.
    [ -n "${NEED_LISTS_ARE_NEW:-}" ] || $become env DEBIAN_FRONTEND=noninteractive apt-get update -qq || true
    $become env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        -o "DPkg::Lock::Timeout=$lock_wait_s" $packages || exit 1

    # The policy holds back the start, not the symlink that starts it at the next boot.
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
