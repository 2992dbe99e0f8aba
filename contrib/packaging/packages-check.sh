#!/bin/sh
# packages-check.sh STAGE TARGET: makes the packages from the files of stage.sh in STAGE, and uses them. The .deb with
# apt: it is installed, its unit verified, its binary run through smoke.sh, upgraded to a newer one with a changed
# /etc/default, removed, installed again, purged. The .rpm with rpm in the same way, without a package database. Both
# change / only inside a mount namespace: writes go to a tmpfs over it, which disappears with the namespace. This
# requires a TARGET of this machine's architecture; for another one the packages are made and only their fields are
# checked. Prints one line for each package, or one that begins with SKIPPED.
set -eu

readonly name=iperf3-exporter
readonly old=0.0.1 new=99.0.0 # below and above any version of Cargo.toml

dir=''

main() {
    [ $# -ge 2 ] || { echo "usage: packages-check.sh STAGE TARGET" >&2; exit 2; }
    STAGE=$(cd "$1" && pwd)
    target=$2
    export STAGE
    cd "$(dirname "$0")/../.."
    # Inside the namespace this script calls itself with a third argument.
    case ${3:-} in
        in-namespace) live_with_deb "$4"; exit 0 ;;
        rpm-in-namespace) live_with_rpm "$4"; exit 0 ;;
    esac
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    check deb dpkg-deb
    check rpm rpmbuild
}

# check deb TOOL
check() {
    if ! command -v "$2" >/dev/null 2>&1 && ! sh contrib/packaging/need.sh "$2"; then
        # CI must have it.
        [ -z "${CI:-}" ] || fail "no $2 here"
        echo "SKIPPED: the .$1: no $2 here"
        return
    fi
    for version in $old $new; do
        made=$(VERSION=$version sh contrib/packaging/packages.sh "$1" "$target")
        mv "$made" "$dir/$version.$1"
    done
    made=$(VERSION=$old sh contrib/packaging/packages.sh "$1" "$target")
    cmp "$dir/$old.$1" "$made" || fail "$made is not the same when it is made twice"
    rm "$made"
    "fields_of_$1" "$dir/$old.$1"
    if [ "${target%%-*}" != "$(uname -m)" ]; then
        echo "$made: made twice with the same bytes, fields are right; not installed: another architecture"
    elif [ "$(id -u)" -ne 0 ]; then
        echo "SKIPPED: the .$1 was made and not installed: only root can"
    elif ! can_overlay; then
        echo "SKIPPED: the .$1 was made and not installed: no overlay file system here, and this machine stays as it is"
    else
        case $1 in
            deb) word=in-namespace ;;
            rpm) word=rpm-in-namespace ;;
        esac
        unshare --mount --propagation private sh contrib/packaging/packages-check.sh "$STAGE" "$target" "$word" "$dir"
    fi
}

fields_of_deb() {
    case $(dpkg-deb -f "$1" Architecture):$target in
        amd64:x86_64* | arm64:aarch64* | armhf:armv7* | i386:i686*) ;;
        *) fail "the .deb is for $(dpkg-deb -f "$1" Architecture)" ;;
    esac
    [ "$(dpkg-deb -f "$1" Depends)" = iperf3 ] || fail "the .deb does not depend on iperf3"
    dpkg-deb -c "$1" >"$dir/list"
    for file in ./usr/bin/$name ./usr/lib/systemd/system/$name.service ./etc/default/$name \
        ./usr/share/doc/$name/copyright ./usr/share/doc/$name/THIRD-PARTY-LICENCES.gz; do
        grep -q " $file\$" "$dir/list" || fail "the .deb lacks $file"
    done
    for link in usr/bin/iperf3_exporter:$name usr/lib/systemd/system/iperf3_exporter.service:$name.service; do
        grep -q " ./${link%:*} -> ${link#*:}\$" "$dir/list" || fail "the .deb lacks the link ${link%:*}"
    done
    ! grep -v ' root/root ' "$dir/list" || fail "a file of the .deb is not root's"
}

fields_of_rpm() {
    case $(rpm -qp --qf '%{ARCH}' "$1"):$target in
        x86_64:x86_64* | aarch64:aarch64* | armv7hl:armv7* | i686:i686*) ;;
        *) fail "the .rpm is for $(rpm -qp --qf '%{ARCH}' "$1")" ;;
    esac
    rpm -qp --recommends "$1" | grep -qx iperf3 || fail "the .rpm does not recommend iperf3"
    [ "$(rpm -qp --configfiles "$1")" = /etc/default/$name ] || fail "the .rpm has another configuration file"
    rpm -qp --licensefiles "$1" | grep -q /THIRD-PARTY-LICENCES || fail "the .rpm lacks the licences of the dependencies"
}

# shellcheck disable=SC2016 # the inner shell's $1
can_overlay() {
    unshare --mount --propagation private sh -c '
        set -e
        mount -t tmpfs tmpfs "$1"
        mkdir "$1/upper" "$1/work" "$1/root"
        mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
    ' sh "$(mkdir -p "$dir/try" && echo "$dir/try")" 2>/dev/null
}

# Mounts a tmpfs over / and prepares to chroot there. Packages in $1 appear as /packages, the checkout as /checkout.
over_root() {
    mkdir -p "$1/over"
    mount -t tmpfs tmpfs "$1/over"
    mkdir "$1/over/upper" "$1/over/work" "$1/over/root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$1/over/upper,workdir=$1/over/work" "$1/over/root"
    root=$1/over/root
    mkdir -p "$root/packages" "$root/checkout"
    mount --bind "$1" "$root/packages"
    mount --bind "$PWD" "$root/checkout"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    # No service is started.
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
}

live_with_deb() {
    over_root "$1"
    log=$1/apt.log
    binary=/usr/bin/$name unit=/usr/lib/systemd/system/$name.service
    wants=/etc/systemd/system/multi-user.target.wants/$name.service

    # The machine's own apt may have been running when this copy was taken.
    inside env DEBIAN_FRONTEND=noninteractive dpkg --configure -a >"$log" 2>&1 || { cat "$log" >&2; fail "dpkg --configure -a"; }
    apt install "/packages/$old.deb"
    [ "$(version_inside)" = "$old-1" ] || fail "not installed"
    [ -L "$root$wants" ] || fail "the unit is not enabled"
    grep -q "^ExecStart=$binary " "$root$unit" || fail "the unit starts another binary"
    inside dpkg -V $name >&2 || fail "dpkg finds changed files"
    if inside sh -c 'command -v systemd-analyze' >/dev/null; then
        said=$(inside systemd-analyze verify --man=no --recursive-errors=no $unit 2>&1) || fail "the unit: $said"
        case $said in *$name*) fail "the unit: $said" ;; esac
    fi
    inside sh /checkout/contrib/packaging/smoke.sh $binary >&2
    inside iperf3_exporter --version >&2 || fail "there is no iperf3_exporter"
    if inside sh -c 'command -v systemctl' >/dev/null; then
        inside systemctl is-enabled iperf3_exporter >&2 || fail "there is no service iperf3_exporter"
    fi

    echo 'ARGS="--lock.timeout=80s"' >"$root/etc/default/$name"
    apt install "/packages/$new.deb"
    [ "$(version_inside)" = "$new-1" ] || fail "not upgraded"
    grep -q lock.timeout "$root/etc/default/$name" || fail "an upgrade overwrote /etc/default"

    apt remove $name
    [ ! -e "$root$binary" ] || fail "the binary is still there after a removal"
    [ -e "$root/etc/default/$name" ] || fail "a removal deleted the configuration"
    apt install "/packages/$new.deb"
    [ -L "$root$wants" ] || fail "the unit is not enabled after it is installed again"
    [ ! -e "$root/etc/systemd/system/$name.service" ] || fail "the unit is masked after it is installed again"

    apt purge $name
    left=$(find "$1/over/upper" -name '*iperf3[-_]exporter*' ! -type c ! -path '*/var/log/*' ! -path '*/var/cache/*' ! -path '*/checkout/*')
    [ -z "$left" ] || fail "a purge leaves: $left"
    echo "the .deb: installed by apt, verified, probed, upgraded with its configuration kept, removed, installed again, purged"
}

# The package's own files only: nothing is downloaded, its dependencies are there.
apt() {
    inside env DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends \
        -o Dpkg::Options::=--force-confold -o APT::Sandbox::User=root "$@" >"$log" 2>&1 </dev/null ||
        { cat "$log" >&2; fail "apt-get $* failed"; }
}

version_inside() {
    # shellcheck disable=SC2016 # dpkg-query's own
    inside dpkg-query -W -f '${Version}' $name
}

inside() {
    chroot "$root" "$@"
}

# rpm's scripts run as anywhere, with a fake systemctl that records their calls.
live_with_rpm() {
    over_root "$1"
    log=$1/rpm.log
    mkdir -p "$root/run/systemd/system"
    rm -f "$root/usr/bin/systemctl"
    printf '#!/bin/sh\necho "$*" >>/told\n' >"$root/usr/bin/systemctl"
    chmod 755 "$root/usr/bin/systemctl"

    rpm_does -i "/packages/$old.rpm"
    inside rpm -V --nodeps $name >&2 || fail "rpm finds changed files"
    inside sh /checkout/contrib/packaging/smoke.sh /usr/bin/$name >&2
    inside iperf3_exporter --version >&2 || fail "there is no iperf3_exporter"
    echo 'ARGS="--lock.timeout=80s"' >"$root/etc/default/$name"
    rpm_does -U "/packages/$new.rpm"
    [ "$(inside rpm -q $name --qf '%{VERSION}')" = "$new" ] || fail "the rpm is not upgraded"
    grep -q lock.timeout "$root/etc/default/$name" || fail "the rpm's upgrade overwrote /etc/default"
    rpm_does -e $name
    for path in bin/$name bin/iperf3_exporter share/doc/$name share/licenses/$name lib/systemd/system/$name.service \
        lib/systemd/system/iperf3_exporter.service; do
        if [ -e "$root/usr/$path" ] || [ -L "$root/usr/$path" ]; then fail "the rpm's removal leaves /usr/$path"; fi
    done
    told=$(tr '\n' ';' <"$root/told")
    wanted="daemon-reload;--no-reload preset $name.service;"
    wanted="${wanted}daemon-reload;try-restart $name.service;"
    wanted="${wanted}--no-reload disable --now $name.service;daemon-reload;"
    [ "$told" = "$wanted" ] || fail "the rpm's scripts told systemctl: $told and not $wanted"
    echo "the .rpm: installed by rpm, verified, probed, upgraded with its configuration kept, removed; its scripts are right"
}

rpm_does() {
    inside rpm --nodeps "$@" >"$log" 2>&1 || { cat "$log" >&2; fail "rpm $* failed"; }
}

fail() {
    echo "packages-check.sh: $1" >&2
    exit 1
}

main "$@"
