#!/bin/sh
# docker.sh: builds contrib/Dockerfile and checks its promises. The container runs read-only, without capabilities and
# as an unprivileged user. Docker finds it healthy. It probes an iperf3 server in a second container on a private
# network. It is unhealthy without iperf3. `docker stop` ends it with status 0. The script removes all that it made,
# except for the archive of the base under target/, which saves a minute the next time.
#     BIN=path           the binary, instead of a static build; it must run on the base
#     DOCKER_BASE=image  the base, instead of a Debian made by debootstrap from the mirror that the system's apt uses
#                        (no image registry is contacted)
#     DOCKER_BARE=yes    leaves iperf3 out of that Debian, so that the Dockerfile must install it over the network
# Prints one line that begins with SKIPPED: where it cannot run.
set -eu

readonly suite=bookworm # for debian-base.sh
readonly stop_s=20      # how long the exporter may take to exit before Docker kills it
readonly name=iperf3-exporter-test-$$
readonly repository=https://git.invalid/some/project # does not exist: the labels must have the value of REPOSITORY

dir=''

main() {
    cd "$(dirname "$0")/../.."
    . tests/scripts/containers.sh
    need_engine
    command -v curl >/dev/null 2>&1 || skip "no curl here"

    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    dir=$(mktemp -d)

    base=${DOCKER_BASE:-}
    [ -n "$base" ] || make_base
    build
    docker network create "$name" >"$dir/said" 2>&1 || fail "docker network create failed"
    start_server
    check_exporter
    check_unhealthy
    echo "contrib/Dockerfile: built on $what_base, healthy read-only and without capabilities, probed, stopped with status 0"
}

skip() {
    echo "SKIPPED: the container was not tested: $1"
    exit 0
}

# $1 is the reason; the output of the last command and the exporter's log are printed before it.
fail() {
    [ ! -s "$dir/said" ] || cat "$dir/said" >&2
    for container in "$name" "$name-ill" "$name-server"; do
        if docker container inspect "$container" >/dev/null 2>&1; then
            echo "--- $container: $(docker inspect -f '{{json .State}}' "$container")" >&2
            docker logs "$container" >&2 || true
        fi
    done
    echo "docker.sh: $1" >&2
    exit 1
}

clean_up() {
    for container in "$name" "$name-ill" "$name-server"; do
        docker rm -f -v "$container" >/dev/null 2>&1 || true
    done
    docker network rm "$name" >/dev/null 2>&1 || true
    for image in "$name" "$name-base"; do
        docker rmi "$image" >/dev/null 2>&1 || true
    done
    remove_steps
    [ -z "$dir" ] || rm -rf "$dir"
}

# Images that the older builder made before the failed step: an unnamed one and those below it.
remove_steps() {
    [ -s "$dir/build-failed" ] || return 0
    step=$(sed -n 's/^ ---> \([0-9a-f]\{12\}\)$/\1/p' "$dir/build-failed" | tail -n 1)
    [ "$(docker inspect -f '{{len .RepoTags}}' "$step" 2>/dev/null)" != 0 ] || docker rmi "$step" >/dev/null 2>&1 || true
}

# A Debian with the essential packages and iperf3.
make_base() {
    target=${CARGO_TARGET_DIR:-target}
    packages=iperf3
    archive=$target/docker-base-$suite.tar
    if [ -n "${DOCKER_BARE:-}" ]; then
        packages=
        archive=$target/docker-base-$suite-bare.tar
    fi
    said=$(sh tests/scripts/debian-base.sh "$archive" "$packages" | tail -n 1)
    [ -s "$archive" ] || skip_or_fail "$said (DOCKER_BASE=image takes a base that is there)"
    docker import "$archive" "$name-base" >"$dir/said" 2>&1 || fail "docker import failed"
    base=$name-base
}

# As `make image` builds it for a published project.
build() {
    IMAGE=$name BASE=$base REPOSITORY=$repository sh contrib/packaging/image.sh x86_64-unknown-linux-musl \
        >"$dir/said" 2>&1 || { cp "$dir/said" "$dir/build-failed"; fail "image.sh failed"; }
    what_base=$(sed -n 's/^\(iperf [0-9.]*\).*/\1/p' "$dir/said" | head -n 1)
    what_base="${DOCKER_BASE:-Debian $suite} with ${what_base:-iperf3}"
    version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    label_is version "$version"
    label_is source "$repository"
    label_is url "$repository"
    label_is licenses MIT
}

# The image's label $1 must be $2.
label_is() {
    label=$(docker inspect -f "{{index .Config.Labels \"org.opencontainers.image.$1\"}}" "$name")
    [ "$label" = "$2" ] || fail "the image's label $1 is '$label' and not '$2'"
}

start_server() {
    docker run -d --name "$name-server" --network "$name" --entrypoint iperf3 "$name" -s --forceflush \
        >"$dir/said" 2>&1 || fail "the second container did not start"
    wait_until server_listens || fail "iperf3 -s does not listen in the second container"
}

server_listens() {
    docker logs "$name-server" 2>&1 | grep -q 'Server listening'
}

# Runs the container $1 as intended, except for more frequent health checks; further arguments are flags.
run() {
    container=$1
    shift
    docker run -d --name "$container" --network "$name" --publish 127.0.0.1::9579 --read-only --cap-drop=ALL \
        --security-opt=no-new-privileges --health-interval=1s --health-retries=1 "$name" "$@" >"$dir/said" 2>&1 ||
        fail "$container did not start"
}

health_is() {
    [ "$(docker inspect -f '{{.State.Health.Status}}' "$1")" = "$2" ]
}

# The value of a line of /proc/1/status in the container.
status_of_1() {
    docker exec "$name" cat /proc/1/status | sed -n "s/^$1:[[:space:]]*//p"
}

check_exporter() {
    run "$name"
    wait_until health_is "$name" healthy || fail "the container did not become healthy"
    [ "$(status_of_1 Name)" = iperf3-exporter ] || fail "process 1 is $(status_of_1 Name)"
    case $(status_of_1 Uid) in
        9579*9579*) ;;
        *) fail "process 1 runs as $(status_of_1 Uid)" ;;
    esac
    [ "$(status_of_1 CapEff)" = 0000000000000000 ] || fail "process 1 has the capabilities $(status_of_1 CapEff)"
    ! docker exec "$name" touch /usr/local/bin/x 2>/dev/null || fail "the container can be written to"

    docker exec "$name" iperf3_exporter --version >"$dir/said" 2>&1 || fail "the image has no iperf3_exporter"

    address=$(docker port "$name" 9579/tcp | head -n 1)
    for mode in '' '&reverse_mode=true' '&udp_mode=true&parallel=4'; do
        url="http://$address/probe?target=$name-server&period=1s$mode"
        curl --silent --show-error --noproxy '*' --max-time 60 "$url" >"$dir/said" 2>&1 || fail "curl $url failed"
        grep -q '^iperf3_up{.*} 1$' "$dir/said" || fail "the probe of the second container failed: $url"
    done
    # The exporter would warn without a folder for its socket.
    docker logs "$name" >"$dir/said" 2>&1
    ! grep -q 'level=\(warn\|error\)' "$dir/said" || fail "the log has a warning"
    # The header and the exporter: no iperf3 was left behind, running or dead.
    wait_until is_alone || fail "the container has processes that should have ended: $(docker top "$name")"

    docker stop -t "$stop_s" "$name" >"$dir/said" 2>&1 || fail "docker stop failed"
    code=$(docker inspect -f '{{.State.ExitCode}}' "$name")
    [ "$code" = 0 ] || fail "docker stop ended it with status $code"
}

# A health check that runs at this moment is a process as well.
is_alone() {
    [ "$(docker top "$name" | wc -l)" -eq 2 ]
}

check_unhealthy() {
    run "$name-ill" --iperf3.path=/nowhere/iperf3
    wait_until health_is "$name-ill" unhealthy || fail "a container without iperf3 is not unhealthy"
    docker inspect -f '{{json .State.Health.Log}}' "$name-ill" >"$dir/said"
    grep -q 'the response was 503' "$dir/said" || fail "the health check does not say why"
}

main
