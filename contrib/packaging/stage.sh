#!/bin/sh
# stage.sh TARGET FOLDER: builds the static binary for TARGET, and puts the files of a package under FOLDER, which must
# not exist: usr/ and etc/. contrib/packaging/packages.sh makes .deb and .rpm from it, so that both have the same files.
# FOLDER/share is not part of it: dist.sh and packages.sh place these files by their own rules. BIN=path uses an
# existing binary instead of building one. Each file's mode and time is set: those of the checkout depend on its umask
# and time.
set -eu

readonly name=iperf3-exporter

main() {
    [ $# -eq 2 ] || { echo "usage: stage.sh TARGET FOLDER" >&2; exit 2; }
    target=$1
    case $2 in
        /*) folder=$2 ;;
        *) folder=$PWD/$2 ;;
    esac
    cd "$(dirname "$0")/../.."
    umask 022
    mkdir "$folder"

    toolchain=$(sh contrib/packaging/toolchain.sh "$target") || exit 1
    [ -z "$toolchain" ] || export RUSTUP_TOOLCHAIN="$toolchain"
    binary=${BIN:-${CARGO_TARGET_DIR:-target}/$target/release/$name}
    [ -n "${BIN:-}" ] || sh contrib/packaging/static.sh "$target" >&2

    bin=$folder/usr/bin units=$folder/usr/lib/systemd/system doc=$folder/usr/share/doc/$name
    mkdir -p "$bin" "$units" "$doc/examples" "$folder/etc/default" "$folder/share"
    cp "$binary" "$bin/$name"
    cp contrib/packaging/default "$folder/etc/default/$name"
    sed "s|/usr/local/bin/$name|/usr/bin/$name|" "$name.service" >"$units/$name.service"
    # The name that scripts for other exporters use. It is a link beside the unit instead of Alias=, which exists only
    # while the unit is enabled: `systemctl enable iperf3_exporter` works, too.
    ln -s "$name" "$bin/iperf3_exporter"
    ln -s "$name.service" "$units/iperf3_exporter.service"
    documents
    for file in contrib/*.yml contrib/*.json contrib/*.socket contrib/*.service contrib/*.sh; do
        [ ! -f "$file" ] || cp "$file" "$doc/examples/"
    done
    if [ -f contrib/$name.1 ]; then
        mkdir -p "$folder/usr/share/man/man1"
        gzip -9n <contrib/$name.1 >"$folder/usr/share/man/man1/$name.1.gz"
    fi
    completion $name.bash usr/share/bash-completion/completions/$name
    completion _$name usr/share/zsh/vendor-completions/_$name
    completion $name.fish usr/share/fish/vendor_completions.d/$name.fish

    sh contrib/packaging/bom.sh sbom "$target" "$bin/$name" >"$folder/share/sbom.cdx.json"
    sh contrib/packaging/bom.sh licences "$target" >"$folder/share/THIRD-PARTY-LICENCES"
    library=$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html
    [ -f "$library" ] || give_up "this Rust has no $library, and each copy of the binary needs its texts: \
use rustup's"
    cp "$library" "$folder/share/RUST-STANDARD-LIBRARY.html"

    find "$folder" -type f -exec chmod 644 {} +
    chmod 755 "$bin/$name"
}

give_up() {
    echo "stage.sh: $1" >&2
    exit 1
}

# README, CHANGELOG and contrib/docs go to $doc, and each folder of contrib that has a README to the examples. Their
# links are adapted to the places there.
documents() {
    mkdir "$doc/docs"
    for page in README.md CHANGELOG.md; do
        relinked "$page" 's#\]\(contrib/docs/#](docs/#g; s#\]\(contrib/#](examples/#g' >"$doc/$page"
    done
    for page in contrib/docs/*.md; do
        relinked "$page" 's#\]\(\.\./\.\./README\.md#](../README.md#g; s#\]\(\.\./([a-z0-9])#](../examples/\1#g' \
            >"$doc/docs/$(basename "$page")"
    done
    # Hidden files of a checkout, such as compose's .env, are not part of it.
    find contrib/compose contrib/kubernetes contrib/openwrt -type f ! -path '*/.*' | while IFS= read -r file; do
        copy=$doc/examples/${file#contrib/}
        mkdir -p "$(dirname "$copy")"
        case $file in
            *.md) relinked "$file" 's#\]\(\.\./docs/#](../../docs/#g' >"$copy" ;;
            *) cp "$file" "$copy" ;;
        esac
    done
}

# Prints the page $1 with its links changed by the sed script $2. A link to a file that is in no package becomes plain
# text, and a picture is left out. A link may have a line break in its text: with -z, sed sees the whole page.
relinked() {
    absent='(\.\./\.\./)?(\.github/|src/|LICENSE|iperf3-exporter\.service)|(contrib|\.\.)/(completions|iperf3-exporter\.1)'
    sed -E -z "s#!\[[^][]*\]\([^)]*\.png\)\n*##g; s#\[([^][]*)\]\(($absent)[^)]*\)#\1#g; $2" "$1"
}

# The completion $1 of contrib/completions goes to $2.
completion() {
    [ -f "contrib/completions/$1" ] || return 0
    mkdir -p "$folder/$(dirname "$2")"
    cp "contrib/completions/$1" "$folder/$2"
}

main "$@"
