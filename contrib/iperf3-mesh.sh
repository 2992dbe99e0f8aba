#!/bin/sh
# iperf3-mesh.sh LIST [LABEL=VALUE ...]: prints the targets of a full mesh, in which each host measures to all others,
# for the prometheus.yml in the same folder. LIST is a file with one host on each line:
#     # iperf3 server, with a port when that is not 5201    its exporter, when that is not the host's port 9579
#     berlin.example.net
#     paris.example.net:5202
#     [2001:db8::7]                                         rome.example.net:9580
# n hosts make n x (n - 1) targets: each ordered pair once, and no host with itself. After a change of the list:
#     sh iperf3-mesh.sh mesh.txt >mesh.new && mv mesh.new iperf3-targets-mesh.yml
#     promtool check config prometheus.yml
# Prometheus reads the changed file without a reload. With mv it never sees a partly written file.
#
# An exporter runs one test at a time, and so does a server. If two exporters choose the same server, one gets `busy`
# and tries again. Two rules keep this rare:
# - With more hosts, each pair is tested less often. The three jobs of prometheus.yml, with 10 s each, take 33 s for
#   each pair. Between two tests of a pair there are two minutes for each host, so each exporter and each server is busy
#   for at most 28 % of the time. For more or longer tests, increase the time: MINUTES=4 sh iperf3-mesh.sh ...
# - The max_age of each exporter is a minute longer than that of the one before. With the same max_age all tests would
#   run at the same time again and again, as after a start of Prometheus, and several tests would share each line.
# Start the exporters with --iperf3.timeout=60s. They then retry for 60 s instead of 25 s.
#
# Set other parameters as labels for all pairs, as in iperf3-targets.yml:
#     sh iperf3-mesh.sh mesh.txt __iperf3_period=5s __iperf3_bitrate=20M
# __iperf3_max_age applies to every exporter, and the tests are then not spread over time.
set -eu

[ $# -ge 1 ] || { echo "usage: iperf3-mesh.sh LIST [LABEL=VALUE ...]" >&2; exit 2; }
list=$1
shift

exec awk -v minutes="${MINUTES:-2}" '
    function refuse(why) {
        print "iperf3-mesh.sh: " why >"/dev/stderr"
        is_refused = 1
        exit 1
    }

    # Returns a word that can be quoted in the output: it must not contain quotation marks.
    function checked(word) {
        if (word !~ /^[][0-9A-Za-z._:%-]+$/) refuse("line " NR ": " word " is not an address")
        return word
    }

    function exporter_of(server) {
        if (server ~ /:.*:/ && server !~ /^\[/) return "[" server "]:9579"
        sub(/[]]:[0-9]+$/, "]", server)
        sub(/^[^:]*:[0-9]+$/, substr(server, 1, index(server, ":") - 1), server)
        return server ":9579"
    }

    function once(what, word) {
        if (seen[what, word]++) refuse("line " NR ": the " what " " word " is listed twice")
    }

    BEGIN {
        if (minutes !~ /^[1-9][0-9]*$/) refuse("MINUTES=" minutes " is not a whole number above 0")
        for (at = 1; at < ARGC; at++) {
            if (ARGV[at] !~ /^[A-Za-z_][0-9A-Za-z_]*=[^"\\]*$/) refuse(ARGV[at] " is not LABEL=VALUE")
            end = index(ARGV[at], "=")
            labels = labels "    " substr(ARGV[at], 1, end - 1) ": \"" substr(ARGV[at], end + 1) "\"\n"
            has_max_age = has_max_age || ARGV[at] ~ /^__iperf3_max_age=/
            ARGV[at] = ""
        }
    }

    { sub(/#.*/, "") }
    NF == 0 { next }
    NF > 2 { refuse("line " NR ": more than a server and its exporter") }
    {
        servers[++n] = checked($1)
        exporters[n] = NF == 2 ? checked($2) : exporter_of($1)
        once("server", servers[n])
        once("exporter", exporters[n])
    }

    # In seconds. As in prometheus.yml, 40 s less than whole minutes: the length of a test and half a scrape interval.
    function max_age(host) {
        return (minutes * n < 5 ? 5 : minutes * n) * 60 + (host - 1) * 60 - 40
    }

    END {
        if (is_refused) exit 1
        if (n < 2) refuse("a mesh needs at least two hosts")
        print "# Made by iperf3-mesh.sh: " n " hosts, " n * (n - 1) " targets. Change the list, and not this file."
        for (from = 1; from <= n; from++) {
            print "- targets:"
            for (to = 1; to <= n; to++) if (to != from) print "    - \"" servers[to] "\""
            printf "  labels:\n    exporter: \"%s\"\n%s", exporters[from], labels
            if (!has_max_age) printf "    __iperf3_max_age: \"%ds\"\n", max_age(from)
        }
    }
' "$@" <"$list"
