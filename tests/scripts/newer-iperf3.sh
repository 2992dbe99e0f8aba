#!/bin/sh
# newer-iperf3.sh [--cached]: prints the path of an iperf3 newer than the system's, for the tests that run two versions
# against each other. It is Debian's, from the mirror that the system's apt uses, unpacked with its own libraries into a
# folder under target/: nothing is installed, and a second call finds it there. With --cached it only looks there and
# downloads nothing. Exits 1, with one line that states the reason, when there is none.
set -eu

readonly suite=trixie # iperf3 3.18; a suite that no longer changes, so that the tests see the same one each time
readonly packages="iperf3 libiperf0 libsctp1 libssl3t64 libzstd1 zlib1g libc6"
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg
readonly limit_s=90 # a registry that hangs must not hang the tests

main() {
    cd "$(dirname "$0")/../.."
    target=${CARGO_TARGET_DIR:-target}
    if [ ! -x "$target/newer-iperf3/iperf3" ]; then
        [ "${1-}" != --cached ] || give_up "no newer iperf3 was downloaded; without --cached this script does it"
        mkdir -p "$target"
    fi
    folder=$(cd "$target" && pwd)/newer-iperf3
    [ -x "$folder/iperf3" ] || fetch
    own=$(version_of iperf3)
    newer=$(version_of "$folder/iperf3")
    [ -n "$newer" ] || give_up "$folder/iperf3 does not run here; it can be removed"
    # The older of the two comes first, and must not be the downloaded one.
    oldest=$(printf '%s\n%s\n' "$newer" "$own" | sort -V | head -n 1)
    [ "$oldest" != "$newer" ] || give_up "the installed iperf3 $own is as new as Debian $suite's $newer"
    echo "$folder/iperf3"
}

give_up() {
    echo "newer-iperf3.sh: $1" >&2
    exit 1
}

version_of() {
    "$1" --version 2>/dev/null | sed -n '1s/^iperf \([0-9.]*\).*/\1/p'
}

# Downloads and unpacks into a folder beside the final one, which appears only when it is complete.
fetch() {
    for command in apt-get dpkg dpkg-deb; do
        command -v "$command" >/dev/null 2>&1 || give_up "no $command here: only Debian's packages are known to it"
    done
    [ -r "$keyring" ] || give_up "no $keyring, which holds the keys that Debian signs with"
    mirror=$(sh tests/scripts/debian-mirror.sh) || exit 1
    draft=$(mktemp -d "$folder.XXXXXX")
    trap 'rm -rf "$draft"' EXIT
    # apt drops its privileges to a user who must be able to reach the folder.
    chmod 755 "$draft"
    mkdir -p "$draft/apt/state/lists/partial" "$draft/apt/cache/archives/partial" "$draft/packages" "$draft/root"
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$draft/apt/sources.list"
    : >"$draft/apt/status"
    # The output matters only after a failure. $packages is split at blanks on purpose.
    # shellcheck disable=SC2086
    if ! words=$(cd "$draft/packages" && own_apt update 2>&1 && own_apt download $packages 2>&1); then
        printf '%s\n' "$words" >&2
        give_up "$mirror has not answered with the packages (apt's words are above)"
    fi
    for package in "$draft"/packages/*.deb; do
        dpkg-deb --extract "$package" "$draft/root" || give_up "cannot unpack ${package##*/}"
    done
    write_wrapper
    rm -rf "$draft/apt" "$draft/packages"
    # If another call was faster, its folder stays.
    mv -T "$draft" "$folder" 2>/dev/null || [ -x "$folder/iperf3" ] || give_up "cannot write $folder"
}

# apt-get without the system's lists, sources and installed packages.
own_apt() {
    timeout "$limit_s" apt-get -qq \
        -o Dir::Etc::SourceList="$draft/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State="$draft/apt/state" -o Dir::State::status="$draft/apt/status" -o Dir::Cache="$draft/apt/cache" \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::http::Timeout=15 -o Acquire::Retries=1 \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

# iperf3 needs a newer C library than the system may have, which comes with its own loader.
write_wrapper() {
    loader=$(cd "$draft/root" && find . -name 'ld-linux*.so.*' ! -type d | sed 's|^\./||' | head -n 1)
    [ -n "$loader" ] || give_up "the packages hold no loader"
    libraries=$(cd "$draft/root" && find . -name 'lib*.so.*' | sed 's|^\./||; s|/[^/]*$||' | sort -u)
    path=
    for library in $libraries; do
        path="$path${path:+:}\$here/root/$library"
    done
    # exec: the started process is iperf3 itself, which the exporter must be able to end.
    cat >"$draft/iperf3" <<WRAPPER
#!/bin/sh
here=\${0%/*}
exec "\$here/root/$loader" --library-path "$path" "\$here/root/usr/bin/iperf3" "\$@"
WRAPPER
    chmod 755 "$draft/iperf3"
}

main "$@"
