#!/bin/sh
# image-push.sh IMAGE TARGET ...: makes the container image for each TARGET from the static binaries of `make dist`,
# pushes them to IMAGE's registry, and combines them under IMAGE:VERSION, and under IMAGE:latest if the version is not a
# pre-release. Run `docker login` first. For another machine's processor Docker needs qemu (binfmt_misc). Prints the
# name and the digest of the pushed image, as name=... and digest=...
#     OUTPUT=file   also appends these two lines to this file
#     BASE=image    instead of the Dockerfile's base
# Needs docker with buildx.
set -eu

readonly name=iperf3-exporter

main() {
    case ${1:-}:${2:-} in
        ?*:?*) ;;
        *) echo "usage: image-push.sh IMAGE TARGET ..." >&2; exit 2 ;;
    esac
    cd "$(dirname "$0")/../.."
    # A registry accepts no capital letters, but a repository's name may have them.
    image=$(echo "$1" | tr '[:upper:]' '[:lower:]')
    shift
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    # Before the first image is made.
    for target in "$@"; do
        [ -f "$(binary "$target")" ] || give_up "there is no $(binary "$target"): run make dist first"
    done
    docker buildx version >/dev/null 2>&1 || give_up "docker buildx is needed, to put several images together"
    sh contrib/packaging/need.sh jq

    # Each image is for one processor only: a list of images cannot contain lists.
    export BUILDX_NO_DEFAULT_ATTESTATIONS=1
    images=
    for target in "$@"; do
        one=$image:$version-${target%%-*}
        IMAGE=$one BIN=$(binary "$target") sh contrib/packaging/image.sh "$target" >&2
        docker push "$one" >&2 || give_up "docker push $one failed"
        images="$images $one"
    done
    tags="--tag $image:$version"
    case $version in
        *-*) ;;
        *) tags="$tags --tag $image:latest" ;;
    esac
    # shellcheck disable=SC2086 # several words
    docker buildx imagetools create $tags $images >&2 || give_up "$image:$version cannot be put together"
    digest=$(docker buildx imagetools inspect "$image:$version" --format '{{json .Manifest}}' | jq -r .digest)
    case $digest in
        sha256:*) ;;
        *) give_up "the registry returned no digest of $image:$version" ;;
    esac
    printf 'name=%s\ndigest=%s\n' "$image" "$digest" | tee -a "${OUTPUT:-/dev/null}"
}

# The path where `make dist` leaves it.
binary() {
    echo "${CARGO_TARGET_DIR:-target}/$1/release/$name"
}

give_up() {
    echo "image-push.sh: $1" >&2
    exit 1
}

main "$@"
