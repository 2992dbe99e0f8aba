#!/bin/sh
# debian-mirror.sh: prints the URI of a Debian mirror, for files that are downloaded but not installed. It is the one
# that this system's own apt uses, so it works wherever `apt-get install` does, also behind a local mirror.
#     DEBIAN_MIRROR=uri  uses this one, for a system other than Debian
# Exits 1, with one line that states the reason, when there is none.
set -eu

main() {
    mirror=${DEBIAN_MIRROR:-}
    [ -n "$mirror" ] || command -v apt-get >/dev/null 2>&1 || give_up "no apt-get here, and DEBIAN_MIRROR is not set"
    [ -n "$mirror" ] || mirror=$(by_label)
    [ -n "$mirror" ] || mirror=$(by_path)
    [ -n "$mirror" ] || give_up "apt's sources name no mirror of Debian, nor does DEBIAN_MIRROR"
    echo "$mirror"
}

give_up() {
    echo "debian-mirror.sh: $1" >&2
    exit 1
}

# From the package lists that apt has fetched: not every source is Debian's.
by_label() {
    # shellcheck disable=SC2016 # apt-get fills these in
    apt-get indextargets --format '$(ORIGIN)/$(LABEL) $(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
        sed -n 's|^Debian/Debian \(https\{0,1\}://.*[^/]\)/*$|\1|p' | head -n 1
}

# Without fetched lists, as in a new container, from those that apt would fetch.
by_path() {
    apt-get --print-uris update 2>/dev/null |
        sed -n "s|^'\(https\{0,1\}://[^']*/debian\)/*/dists/[^']*/InRelease' .*|\1|p" | head -n 1
}

main
