#!/bin/sh
# release-tag.sh TAG: checks that TAG is v and the version in Cargo.toml, and prints version=..., which is also appended
# to the file OUTPUT if that is set. A tag of another version would publish files with this version.
set -eu

tag=${1:-}
[ -n "$tag" ] || { echo "usage: release-tag.sh TAG" >&2; exit 2; }
cd "$(dirname "$0")/../.."
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
[ "$tag" = "v$version" ] || {
    echo "release-tag.sh: the tag is $tag, and Cargo.toml has the version $version: it has to be v$version" >&2
    exit 1
}
echo "version=$version" | tee -a "${OUTPUT:-/dev/null}"
