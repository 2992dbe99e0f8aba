#!/bin/sh
# repository.sh: prints the URL of the repository where this project is published; nothing if there is none. It is
# `repository` in Cargo.toml, or REPOSITORY for a copy that is published elsewhere. All scripts that name the project's
# home call this one: .deb (Homepage), .rpm (URL), the SBOM and the image's labels leave their field out when it prints
# nothing. Exits 1 if the value is not a URL that all of them can use.
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
