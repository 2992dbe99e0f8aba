#!/bin/sh
# compose.sh: starts contrib/compose with a real Docker engine and checks its promises. Each container becomes healthy,
# is read-only, has no capabilities and does not run as root. Prometheus has the exporter, a successful test and its
# bandwidth. It contacts no image registry: the images of the exporter and of Prometheus are made from a Debian from the
# mirror that the system's apt uses. Grafana is left out, as Debian has none. It removes all that it made, except for
# the archive of the base under target/, which saves a minute the next time.
#     BIN=path           the binary, instead of a static build; it must run on the base
# Prints one line that begins with SKIPPED: where it cannot run.
set -eu

readonly suite=bookworm # for debian-base.sh
readonly wait_s=180 # how long compose waits for healthy containers: far longer than they take on a busy machine
readonly name=iperf3-exporter-compose-$$

dir=''

main() {
    cd "$(dirname "$0")/../.."
    . tests/scripts/containers.sh
    need_engine
    for tool in curl jq; do
        command -v $tool >/dev/null 2>&1 || skip "no $tool here"
    done
    said=$(sh tests/scripts/docker-compose.sh version 2>&1) || skip "$(echo "$said" | tail -n 1)"

    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    dir=$(mktemp -d)
    echo 'services: {}' >"$dir/override.yml"

    make_images
    override
    # Free ports, as the usual ones may be in use.
    export EXPORTER_IMAGE="$name" PROMETHEUS_IMAGE="$name-prometheus" EXPORTER_PORT=0 PROMETHEUS_PORT=0
    compose up --detach --no-build --pull never --wait --wait-timeout "$wait_s" prometheus >"$dir/said" 2>&1 ||
        fail "compose up failed"
    for service in iperf3 iperf3-exporter prometheus; do
        check_container "$service"
    done
    check_prometheus
    compose down --volumes >"$dir/said" 2>&1 || fail "compose down failed"
    for kind in container volume network; do
        docker "$kind" ls --quiet --filter "label=com.docker.compose.project=$name" >"$dir/said"
        [ ! -s "$dir/said" ] || fail "compose down --volumes left a $kind"
    done
    echo "contrib/compose: healthy, hardened, measured at $bits bit/s, and gone; without Grafana"
}

skip() {
    echo "SKIPPED: the compose stack was not started: $1"
    exit 0
}

# $1 is the reason; the output of the last command and the containers' logs are printed before it.
fail() {
    [ ! -s "$dir/said" ] || cat "$dir/said" >&2
    compose ps --all >&2 || true
    compose logs --tail 30 >&2 || true
    echo "compose.sh: $1" >&2
    exit 1
}

clean_up() {
    compose down --volumes --timeout 1 >/dev/null 2>&1 || true
    for image in "$name" "$name-prometheus" "$name-base"; do
        docker rmi "$image" >/dev/null 2>&1 || true
    done
    [ -z "$dir" ] || rm -rf "$dir"
}

compose() {
    sh tests/scripts/docker-compose.sh --file contrib/compose/compose.yml --file "$dir/override.yml" \
        --project-name "$name" "$@"
}

# The stack's own targets, with more frequent and smaller tests: other tests run at the same time.
override() {
    {
        cat contrib/compose/iperf3-targets.yml
        echo '    __scrape_interval__: 15s'
        echo '    __iperf3_period: 2s'
        echo '    __iperf3_bitrate: 20M'
    } >"$dir/targets.yml"
    cat >"$dir/override.yml" <<END
services:
  prometheus:
    volumes: ["$dir/targets.yml:/etc/prometheus/iperf3-targets.yml:ro"]
END
    chmod 755 "$dir" # for any user of Prometheus
    chmod 644 "$dir/targets.yml"
}

# Both are made from one Debian. The image of Prometheus has the user, folder and flags of the project's own.
make_images() {
    archive=${CARGO_TARGET_DIR:-target}/docker-base-$suite-prometheus.tar
    said=$(sh tests/scripts/debian-base.sh "$archive" iperf3,prometheus | tail -n 1)
    [ -s "$archive" ] || skip_or_fail "$said"
    docker import "$archive" "$name-base" >"$dir/said" 2>&1 || fail "docker import failed"
    IMAGE=$name BASE=$name-base sh contrib/packaging/image.sh x86_64-unknown-linux-musl >"$dir/said" 2>&1 ||
        fail "image.sh failed"
    mkdir "$dir/prometheus"
    cat >"$dir/prometheus/Dockerfile" <<END
FROM $name-base
RUN mkdir /prometheus && chown nobody /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
END
    docker build --tag "$name-prometheus" "$dir/prometheus" >"$dir/said" 2>&1 || fail "docker build failed"
}

# Checks the rights of the service $1, as the engine and the kernel report them.
check_container() {
    container=$(compose ps --quiet "$1")
    for wanted in .State.Health.Status=healthy .HostConfig.ReadonlyRootfs=true .HostConfig.CapDrop='[ALL]' \
        .HostConfig.SecurityOpt='[no-new-privileges:true]' .HostConfig.RestartPolicy.Name=unless-stopped; do
        got=$(docker inspect --format "{{${wanted%%=*}}}" "$container")
        [ "$got" = "${wanted#*=}" ] || fail "$1: ${wanted%%=*} is $got"
    done
    docker exec "$container" cat /proc/1/status >"$dir/said" || fail "$1: no /proc/1/status"
    grep -q '^CapBnd:[[:space:]]*0*$' "$dir/said" || fail "$1 has capabilities"
    grep -q '^NoNewPrivs:[[:space:]]*1$' "$dir/said" || fail "$1 can get privileges"
    ! grep -q '^Uid:.*[[:space:]]0\([[:space:]]\|$\)' "$dir/said" || fail "$1 runs as root"
    # As root: only root could write there.
    ! docker exec --user 0 "$container" touch /etc/x 2>/dev/null || fail "$1 can be written to"
}

check_prometheus() {
    address=$(compose port prometheus 9090)
    for query in 'up{job="iperf3-exporter",instance="iperf3-exporter:9579"} == 1' \
        'up{job="iperf3",instance="iperf3"} == 1' 'iperf3_up{job="iperf3",instance="iperf3"} == 1' \
        'iperf3_bandwidth_bytes_per_second{job="iperf3",instance="iperf3"} * 8 > 0'; do
        wait_until has_data "$query" || fail "Prometheus has no $query"
    done
    bits=$(jq -r '.data.result[0].value[1]' "$dir/said")
    # Rules and alerts are mounted where the configuration expects them.
    ask rules | jq -e '[.data.groups[].file] | unique | length == 2' >/dev/null || fail "not both files of rules were read"
}

# Requests $1 from Prometheus' API; further arguments are flags of curl.
ask() {
    path=$1
    shift
    curl --silent --show-error --noproxy '*' --max-time 30 "$@" "http://$address/api/v1/$path"
}

has_data() {
    ask query --get --data-urlencode "query=$1" >"$dir/said" 2>&1 &&
        jq -e '.data.result | length > 0' "$dir/said" >/dev/null 2>&1
}

main
