#!/bin/sh
# openwrt.sh: runs contrib/openwrt/iperf3-exporter.init under busybox's shell, which is OpenWrt's, and checks what it
# passes to procd. Each setting becomes one argument, whatever its characters. An invalid setting reaches neither procd
# nor a running exporter. The resulting command line is started for real and answers. The script also makes the
# package's own Makefile install its files. A few lines below replace OpenWrt's functions, as no OpenWrt is used here.
#     BIN=path  the exporter, instead of one that cargo builds
# Prints one line that begins with SKIPPED: where there is no busybox.
set -eu

readonly step_s=0.1
readonly wait_steps=600 # 60 s: the longest wait for a start

dir='' exporter_pid=''

main() {
    cd "$(dirname "$0")/../.."
    here=$PWD/contrib/openwrt
    if ! command -v busybox >/dev/null 2>&1; then
        # CI has root and a package manager; on a developer's machine the owner decides what is installed.
        [ -z "${CI:-}" ] || sh contrib/packaging/need.sh busybox
        command -v busybox >/dev/null 2>&1 || {
            echo "SKIPPED: the OpenWrt service was not tested: no busybox here"
            exit 0
        }
    fi
    trap clean_up EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    dir=$(mktemp -d)
    binary=${BIN:-}
    if [ -z "$binary" ]; then
        cargo build || fail "cargo build failed"
        binary=$PWD/${CARGO_TARGET_DIR:-target}/debug/iperf3-exporter
        case ${CARGO_TARGET_DIR:-} in /*) binary=$CARGO_TARGET_DIR/debug/iperf3-exporter ;; esac
    fi
    stand_ins
    sed "s|^PROG=.*|PROG=$binary|" "$here/iperf3-exporter.init" >"$dir/init"

    as_shipped
    each_setting
    what_is_refused
    what_may_pass_by_itself
    for_real
    package
    echo "contrib/openwrt: the init script under busybox tells procd each setting, refuses what is broken, starts;" \
        "the package installs"
}

fail() {
    for file in said words procd log; do
        [ ! -s "$dir/$file" ] || { echo "--- $file"; cat "$dir/$file"; } >&2
    done
    echo "openwrt.sh: $1" >&2
    exit 1
}

clean_up() {
    if [ -n "$exporter_pid" ]; then
        kill "$exporter_pid" 2>/dev/null || true
        wait "$exporter_pid" 2>/dev/null || true
    fi
    [ -z "$dir" ] || rm -rf "$dir"
}

# The parts of rc.common, uci and procd that the init script uses. A configuration is written so that a shell reads it
# as uci does: `config`, `option` and `list` are commands with quoted arguments.
stand_ins() {
    cat >"$dir/rc.common" <<'EOF'
reset_cb() { option_cb() { :; }; list_cb() { :; }; }
reset_cb
config() { section=$2; }
option() { eval "uci_${section}_$1=\$2"; option_cb "$1" "$2"; }
list() {
	eval "count=\$((\${uci_${section}_$1_LENGTH:-0} + 1))"
	eval "uci_${section}_$1_LENGTH=$count; uci_${section}_$1_ITEM$count=\$2"
	list_cb "$1" "$2"
}
config_load() { [ -r "$DIR/config" ] && . "$DIR/config"; }
config_get() { eval "$1=\${uci_$2_$3:-\${4-}}"; }
config_get_bool() {
	config_get "$1" "$2" "$3" "$4"
	eval "case \$$1 in 1 | on | true | yes | enabled) $1=1 ;; 0 | off | false | no | disabled) $1=0 ;; *) $1=$4 ;; esac"
}
config_list_foreach() {
	local section=$1 name=$2 function=$3 at=1 length value
	shift 3
	config_get length "$section" "${name}_LENGTH" 0
	while [ "$at" -le "$length" ]; do
		config_get value "$section" "${name}_ITEM$at"
		"$function" "$value" "$@"
		at=$((at + 1))
	done
}
logger() { printf '%s\n' "$*" >&2; }
procd_open_instance() { echo open >>"$DIR/procd"; }
procd_close_instance() { echo close >>"$DIR/procd"; }
procd_add_reload_trigger() { echo "trigger $*" >>"$DIR/procd"; }
procd_set_param() {
	if [ "$1" = command ]; then
		shift
		for word; do printf '%s\n' "$word" >>"$DIR/words"; done
	else
		echo "$*" >>"$DIR/procd"
	fi
}
. "$DIR/init"
start_service
echo sent >>"$DIR/procd"
service_triggers
EOF
}

# Runs the init script with the configuration on standard input; the files words and procd get what it passes to procd.
start() {
    cat >"$dir/config"
    rm -f "$dir/words" "$dir/procd"
    : >"$dir/words"
    : >"$dir/procd"
    run_init
}

# In a separate folder, where a command hidden in a value would leave a file.
run_init() {
    (cd "$dir" && DIR=$dir busybox ash -u "$dir/rc.common" >"$dir/said" 2>&1)
}

# Compares the file $1 with standard input.
same() {
    cat >"$dir/expected"
    diff -u "$dir/expected" "$dir/$1" >"$dir/difference" || {
        cat "$dir/difference" >&2
        fail "$2: $1 differs"
    }
}

as_shipped() {
    start <"$here/iperf3-exporter.config" || fail "the shipped configuration is refused"
    printf 'sent\ntrigger iperf3-exporter\n' | same procd "as shipped nothing is started"
    grep -q 'uci set iperf3-exporter.main.enabled=1' "$dir/said" || fail "it does not say how to enable it"

    # With every setting that is a comment there.
    sed "s/enabled '0'/enabled '1'/; s/^\(\t\)#\(list\|option\) /\1\2 /; /web_config/d" \
        "$here/iperf3-exporter.config" | grep -v 'use-pkcs1-padding' >"$dir/all"
    start <"$dir/all" || fail "the examples of the shipped configuration are refused"
    same words "all examples" <<EOF
$binary
--web.listen-address=:9579
--web.listen-address=192.168.1.1:9579
--web.listen-address=[fd00::1]:9579
--probe.allow-target=192.168.0.0/16
--probe.allow-target=iperf.example.net
--probe.max-bytes-per-day=10G
--lock.timeout=80s
--iperf3.timeout=60s
--probe.timeout-offset=500ms
--web.max-connections=32
--iperf3.path=/usr/bin/iperf3
--log.level=info
EOF
    same procd "all examples" <<'EOF'
open
user nobody
group nogroup
stdout 1
stderr 1
respawn 3600 5 0
term_timeout 10
close
sent
trigger iperf3-exporter
EOF
}

each_setting() {
    # Only enabled: the exporter's own defaults apply.
    printf "config iperf3-exporter 'main'\n\toption enabled 'yes'\n" | start || fail "the defaults are refused"
    echo "$binary" | same words "defaults"

    # Blanks, quotes and shell metacharacters. An option instead of a list is a list of one.
    odd="$dir/a  b ' \" \$(touch ran) \`touch ran\` \$HOME * \\ ; x"
    printf '# nothing\n' >"$odd"
    # The file that the pattern among the values would match if it were expanded.
    : >"$dir/--iperf3.path=a b"
    quoted=$(printf '%s' "$odd" | sed "s/'/'\\\\''/g")
    start <<EOF || fail "a path with blanks and quotes is refused"
config iperf3-exporter 'main'
	option enabled '1'
	option listen '127.0.0.1:0'
	option web_config '$quoted'
	option user 'measure'
	list flag '--iperf3.path=a *'
	list flag '--no-web.systemd-socket'
EOF
    same words "odd values" <<EOF
$binary
--web.listen-address=127.0.0.1:0
--web.config.file=$odd
--iperf3.path=a *
--no-web.systemd-socket
EOF
    [ ! -e "$dir/ran" ] || fail "a value was run as a command"
    grep -qx 'user measure' "$dir/procd" || fail "the user is not passed on"
}

what_may_pass_by_itself() {
    start <<'CONFIG' || fail "an iperf3 that may come later keeps the exporter from starting"
config iperf3-exporter 'main'
	option enabled '1'
	option iperf3_path '/nowhere/iperf3'
CONFIG
    grep -q "cannot find iperf3 .*/nowhere/iperf3" "$dir/said" || fail "it does not say that iperf3 is missing"
    grep -qx -- '--iperf3.path=/nowhere/iperf3' "$dir/words" || fail "procd is not told to start it"
}

# The configuration line $1 is refused with a message that contains $2, and procd gets nothing.
refused() {
    if printf "config iperf3-exporter 'main'\n\toption enabled '1'\n\t%s\n" "$1" | start; then
        fail "this was not refused: $1"
    fi
    grep -qF -- "$2" "$dir/said" || fail "the refusal of $1 does not say $2"
    if [ -s "$dir/procd" ] || [ -s "$dir/words" ]; then fail "procd got arguments in spite of $1"; fi
}

what_is_refused() {
    refused "option lock_timeout 'soon'" 'flag --lock.timeout: "soon" is not allowed'
    refused "list listen '9579'" 'flag --web.listen-address: "9579" is not allowed'
    refused "option web_config '/nowhere/web.yml'" '/nowhere/web.yml'
    refused "option lock_timout '80s'" 'there is no option lock_timout'
    refused "list alow_target 'a'" 'there is no option alow_target'
    refused "list flag 'log.level=debug'" 'a flag begins with --'
    refused "list flag '--help'" 'this flag is not for a service'
    refused "list flag '--nonsense'" 'unknown flag or argument "--nonsense"'
    refused "list allow_target 'a
b'" 'control character'
    rm "$dir/config"
    if run_init; then fail "no configuration is not refused"; fi
    grep -q 'uci cannot read it' "$dir/said" || fail "it does not say that there is no configuration"
}

# Starts the arguments for procd as procd would.
for_real() {
    start <<'EOF' || fail "a plain configuration is refused"
config iperf3-exporter 'main'
	option enabled '1'
	list listen '127.0.0.1:0'
	list allow_target '127.0.0.0/8'
	option max_connections '32'
EOF
    set --
    while IFS= read -r word; do set -- "$@" "$word"; done <"$dir/words"
    "$@" --config.check >"$dir/said" 2>&1 || fail "the exporter does not accept the arguments"
    : >"$dir/log"
    "$@" >"$dir/log" 2>&1 &
    exporter_pid=$!
    step=0
    until port=$(sed -n 's/.*msg="listening" address=127.0.0.1:\([0-9]*\)$/\1/p' "$dir/log") && [ -n "$port" ]; do
        step=$((step + 1))
        if [ "$step" -gt "$wait_steps" ] || ! kill -0 "$exporter_pid" 2>/dev/null; then
            fail "the exporter does not listen"
        fi
        sleep "$step_s"
    done
    "$binary" "--health=http://127.0.0.1:$port/ready" >"$dir/said" 2>&1 || fail "the exporter does not answer"
    kill "$exporter_pid"
    wait "$exporter_pid" || fail "the exporter ended with status $?"
    exporter_pid=
}

# The package's Makefile with the few definitions that it takes from OpenWrt's.
package() {
    mkdir -p "$dir/sdk" "$dir/build"
    : >"$dir/sdk/rules.mk"
    cat >"$dir/sdk/package.mk" <<'EOF'
INSTALL_DIR = install -d -m0755
INSTALL_BIN = install -m0755
INSTALL_CONF = install -m0600
LN = ln -sf
define BuildPackage
all:
	$(Build/Prepare)
	$(Build/Compile)
	$(call Package/$(1)/install,$(ROOT))
version:
	@echo $(PKG_VERSION)
endef
EOF
    for goal in all version; do
        make -s -C "$here" TOPDIR="$dir/sdk" INCLUDE_DIR="$dir/sdk" BUILD_DIR="$dir/build" ROOT="$dir/package" \
            IPERF3_EXPORTER_BINARY="$binary" "$goal" >"$dir/said" 2>&1 || fail "make $goal of the package failed"
    done
    own=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    [ "$(cat "$dir/said")" = "$own" ] || fail "the package's version is not the $own of Cargo.toml"
    (cd "$dir/package" && find . ! -type d | sort) >"$dir/said"
    same said "the package's files" <<'EOF'
./etc/config/iperf3-exporter
./etc/init.d/iperf3-exporter
./usr/bin/iperf3-exporter
./usr/bin/iperf3_exporter
EOF
    cmp -s "$binary" "$dir/package/usr/bin/iperf3_exporter" || fail "iperf3_exporter is not the exporter"
    [ -x "$dir/package/etc/init.d/iperf3-exporter" ] || fail "the init script cannot be executed"
    cmp -s "$binary" "$dir/package/usr/bin/iperf3-exporter" || fail "the binary is another one"
}

main
