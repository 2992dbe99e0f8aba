#!/bin/sh
# bom.sh sbom TARGET BINARY | bom.sh licences TARGET | bom.sh crates TARGET Describes the contents of the binary for
# TARGET, on standard output:
#   sbom      a CycloneDX 1.5 document: each crate with version, licence, checksum and dependencies; Rust's standard
#             library and the C library; the SHA-256 of BINARY. Its time is SOURCE_DATE_EPOCH (default: 0).
#   licences  the licence texts of those crates, each text once, with the names of the crates that it covers.
#   crates    their names and versions, one per line.
# The data comes from `cargo tree` (the crates with this target's features) and `cargo metadata` (their descriptions),
# so that no tool must be compiled for it. CARGO_FLAGS goes to both, split at blanks. Needs jq.
set -eu

export LC_ALL=C # for sort: the same order everywhere

main() {
    what=${1:-}
    target=${2:-}
    case $what:$# in
        sbom:3 | licences:2 | crates:2) ;;
        *) echo "usage: bom.sh sbom TARGET BINARY | bom.sh licences TARGET | bom.sh crates TARGET" >&2; exit 2 ;;
    esac
    cd "$(dirname "$0")/../.."
    dir=$(mktemp -d)
    trap 'rm -rf "$dir"' EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM

    # shellcheck disable=SC2086 # several words
    cargo tree --locked --quiet --edges normal,no-proc-macro --target "$target" --prefix none --format '{p}' \
        ${CARGO_FLAGS:-} >"$dir/tree" || give_up "cargo tree failed"
    # "name v1.2.3 (*)": the end marks a repeated entry, or has the folder of a crate without a registry.
    sed 's/^\([^ ]*\) v\([^ ]*\).*/\1 \2/' "$dir/tree" | sort -u >"$dir/linked"
    [ "$what" != crates ] || { cat "$dir/linked"; exit 0; }

    command -v jq >/dev/null 2>&1 || sh contrib/packaging/need.sh jq
    # shellcheck disable=SC2086
    cargo metadata --locked --quiet --format-version 1 --filter-platform "$target" ${CARGO_FLAGS:-} >"$dir/metadata" ||
        give_up "cargo metadata failed"
    "$what" "${3:-}"
}

give_up() {
    echo "bom.sh: $1" >&2
    exit 1
}

sbom() {
    binary_sha256=$(sha256sum <"$1") || give_up "cannot read $1"
    # name version checksum
    awk -F '"' '/^name = /{n=$2} /^version = /{v=$2} /^checksum = /{print n, v, $2}' Cargo.lock >"$dir/checksums"
    repository=$(sh contrib/packaging/repository.sh)
    jq --sort-keys \
        --rawfile linked "$dir/linked" --rawfile checksums "$dir/checksums" \
        --arg sha256 "${binary_sha256%% *}" --arg target "$target" --arg rustc "$(rustc_version)" \
        --arg repository "$repository" --argjson epoch "${SOURCE_DATE_EPOCH:-0}" '
        def purl: "pkg:cargo/\(.name)@\(.version)";
        # "MIT/Apache-2.0" is the notation before SPDX.
        def licence: [{expression: (.license | gsub("/"; " OR "))}];
        def links: [if .repository then {type: "vcs", url: .repository} else empty end];
        def own_links: if $repository == "" then {} else {externalReferences: [{type: "vcs", url: $repository}]} end;
        ($linked | [splits("\n") | select(. != "") | {key: ., value: true}] | from_entries) as $linked
        | ($checksums | [splits("\n") | select(. != "") | split(" ") | {key: "\(.[0]) \(.[1])", value: .[2]}]
            | from_entries) as $checksums
        | .resolve.root as $root
        | [.packages[] | select($linked["\(.name) \(.version)"])] as $packages
        | ($packages | map({key: .id, value: purl}) | from_entries) as $purls
        | ($packages[] | select(.id == $root)) as $own
        | "pkg:generic/rust-std@\($rustc)" as $std
        | [{type: "library", "bom-ref": $std, name: "rust-std", version: $rustc,
            purl: $std, licenses: [{expression: "MIT OR Apache-2.0"}]},
           if $target | test("musl") then
             {type: "library", "bom-ref": "pkg:generic/musl", name: "musl", purl: "pkg:generic/musl",
              description: "the C library that rustc includes", licenses: [{expression: "MIT"}]}
           else empty end] as $brought
        | {
            bomFormat: "CycloneDX",
            specVersion: "1.5",
            version: 1,
            metadata: {
              timestamp: ($epoch | todate),
              component: ({
                type: "application", "bom-ref": ($own | purl), name: $own.name, version: $own.version,
                description: $own.description, purl: ($own | purl), licenses: ($own | licence),
                hashes: [{alg: "SHA-256", content: $sha256}],
                properties: [{name: "iperf3-exporter:target", value: $target}]
              } + own_links)
            },
            components: (([$packages[] | select(.id != $root)
              | {type: "library", "bom-ref": purl, name, version, purl: purl, licenses: licence,
                 externalReferences: links,
                 hashes: [{alg: "SHA-256", content: $checksums["\(.name) \(.version)"]}]}]
              | sort_by(.purl)) + $brought),
            dependencies: ([.resolve.nodes[] | select($purls[.id])
              | {ref: $purls[.id], dependsOn: ([.deps[] | select(any(.dep_kinds[]; .kind == null)) | $purls[.pkg]
                  | select(.)] + (if .id == $root then $brought | map(.["bom-ref"]) else [] end) | unique)}]
              + [$brought[] | {ref: .["bom-ref"], dependsOn: []}]
              | sort_by(.ref))
          }' "$dir/metadata"
}

rustc_version() {
    rustc -V | sed 's/^rustc \([^ ]*\).*/\1/'
}

licences() {
    top=$PWD
    mkdir "$dir/texts"
    # name version licence repository folder, separated by tabs
    jq -r --rawfile linked "$dir/linked" '
        ($linked | [splits("\n")]) as $linked
        | .resolve.root as $root
        | .packages[] | select(.id != $root) | select("\(.name) \(.version)" | IN($linked[]))
        | [.name, .version, .license, .repository // "-", (.manifest_path | sub("/Cargo.toml$"; ""))] | @tsv' \
        "$dir/metadata" | sort >"$dir/table"

    cat <<END
The licences of what is linked into this binary of iperf3-exporter, besides its own (LICENSE).

Each name with its version, its licence and where it comes from; the texts follow, each with the names that it covers.
Where a licence says OR, this project takes it under the first of MIT, ISC and Apache-2.0 that it offers.

END
    awk -F '\t' '{ printf "%s %s: %s (%s)\n", $1, $2, $3, $4 }' "$dir/table"
    cat <<END
Rust's standard library $(rustc_version): MIT OR Apache-2.0 (https://github.com/rust-lang/rust); its own dependencies and \
their texts are in RUST-STANDARD-LIBRARY.html
END
    case $target in
        *musl*)
            echo "musl: MIT (https://musl.libc.org)"
            add_text musl "$top/contrib/packaging/musl-licence.txt"
            ;;
    esac
    # The parts of LLVM that rustc links, compiler-rt and libunwind, are exempt from the duty to pass on a text.
    tab=$(printf '\t')
    while IFS="$tab" read -r crate version _ _ folder; do
        found=
        # Also in subfolders: the licences of code that a crate took from elsewhere.
        find "$folder" -type f \( -iname 'licen[cs]e*' -o -iname 'copying*' -o -iname 'copyright*' -o -iname 'notice*' \
            -o -iname 'unlicense*' \) ! -name '*.rs' | sort >"$dir/files"
        while IFS= read -r file; do
            add_text "$crate $version" "$file"
            found=yes
        done <"$dir/files"
        [ -n "$found" ] || give_up "$crate $version has no licence text: $folder"
    done <"$dir/table"
    # Sorted by the crates that a text covers, which come first in the file of names.
    for names in "$dir"/texts/*.names; do
        printf '%s\t%s\n' "$(sort -u "$names" | tr '\n' ';')" "$names"
    done | sort >"$dir/order"
    while IFS="$tab" read -r _ names; do
        printf '\n================================================================================\n'
        sort -u "$names" | awk '{ printf "%s%s", (NR > 1 ? ", " : ""), $0 } END { print ":" }' | fold -s -w 100
        printf '\n'
        cat "${names%.names}"
    done <"$dir/order"
}

# Adds the text in the file $2 for the name $1. A known text, ignoring line ends and blanks, only gets the name.
add_text() {
    tr -d '\r' <"$2" | sed 's/[[:space:]]*$//' >"$dir/text"
    hash=$(tr -s '[:space:]' ' ' <"$dir/text" | sha256sum)
    hash=${hash%% *}
    [ -e "$dir/texts/$hash" ] || cp "$dir/text" "$dir/texts/$hash"
    echo "$1" >>"$dir/texts/$hash.names"
}

main "$@"
