#!/bin/sh
# repository.sh: prints the URL of the repository that this project is published in; nothing when it has none. It is
# `repository` in Cargo.toml, or REPOSITORY, for a copy that is published elsewhere. What names the project's home asks
# this script: .deb (Homepage), .rpm (URL), the SBOM and the image's labels leave their field out when it prints nothing.
# Exits 1 when the value is no URL that can stand in all of them.
set -eu

cd "$(dirname "$0")/../.."
url=${REPOSITORY:-$(sed -n 's/^repository = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)}
[ -n "$url" ] || exit 0
case $url in
    *[!A-Za-z0-9.:/_~-]*) ;;
    https://?*/?*) echo "$url"; exit 0 ;;
esac
echo "repository.sh: $url is not https://HOST/PATH" >&2
exit 1
