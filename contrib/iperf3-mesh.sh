#!/bin/sh
# iperf3-mesh.sh LIST [LABEL=VALUE ...]: prints the targets of a mesh, in which each host measures to all others, for
# prometheus.yml beside it. LIST is a file with one host on each line:
#     # iperf3 server, with a port when that is not 5201    its exporter, when that is not the host's port 9579
#     berlin.example.net
#     paris.example.net:5202
#     [2001:db8::7]                                         rome.example.net:9580
# n hosts make n x (n - 1) targets: each ordered pair once, and no host to itself. After a change of the list:
#     sh iperf3-mesh.sh mesh.txt >mesh.new && mv mesh.new iperf3-targets-mesh.yml
#     promtool check config prometheus.yml
# Prometheus reads the file again by itself. The mv lets it see a whole file only.
#
# An exporter runs one test at a time, and so does a server: exporters that meet at one get `busy` and try again. Two
# things keep that rare:
# - Tests get rarer with n. The three jobs of prometheus.yml, with 10 s each, take 33 s for each pair. With two minutes
#   for each host between two tests of a pair an exporter, and a server, is busy for a quarter of the time at most. More
#   or longer tests need more: MINUTES=4 sh iperf3-mesh.sh ...
# - Each exporter waits a minute longer than the one before. With the same max_age everywhere all tests would come
#   together, as they did when Prometheus started, and each line would carry several.
# Start the exporters with --iperf3.timeout=60s: they then try for that long, and not for 25 s.
#
# Other parameters are labels for all pairs, as in iperf3-targets.yml:
#     sh iperf3-mesh.sh mesh.txt __iperf3_period=5s __iperf3_bitrate=20M
# An __iperf3_max_age is every exporter's, and then nothing spreads the tests.
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

    # What stands between quotation marks in the output must not end them.
    function checked(word) {
        if (word !~ /^[][0-9A-Za-z._:%-]+$/) refuse("line " NR ": " word " is no address")
        return word
    }

    function exporter_of(server) {
        if (server ~ /:.*:/ && server !~ /^\[/) return "[" server "]:9579"
        sub(/[]]:[0-9]+$/, "]", server)
        sub(/^[^:]*:[0-9]+$/, substr(server, 1, index(server, ":") - 1), server)
        return server ":9579"
    }

    function once(what, word) {
        if (seen[what, word]++) refuse("line " NR ": the " what " " word " is there twice")
    }

    BEGIN {
        if (minutes !~ /^[1-9][0-9]*$/) refuse("MINUTES=" minutes " is no whole number above 0")
        for (at = 1; at < ARGC; at++) {
            if (ARGV[at] !~ /^[A-Za-z_][0-9A-Za-z_]*=[^"\\]*$/) refuse(ARGV[at] " is no LABEL=VALUE")
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

    # As in prometheus.yml, 40 s less than whole minutes: the length of a test, and half of a scrape interval.
    function max_age(host) {
        return (minutes * n < 5 ? 5 : minutes * n) * 60 + (host - 1) * 60 - 40
    }

    END {
        if (is_refused) exit 1
        if (n < 2) refuse("a mesh has two hosts at least")
        print "# Made by iperf3-mesh.sh: " n " hosts, " n * (n - 1) " targets. Change the list, and not this file."
        for (from = 1; from <= n; from++) {
            print "- targets:"
            for (to = 1; to <= n; to++) if (to != from) print "    - \"" servers[to] "\""
            printf "  labels:\n    exporter: \"%s\"\n%s", exporters[from], labels
            if (!has_max_age) printf "    __iperf3_max_age: \"%ds\"\n", max_age(from)
        }
    }
' "$@" <"$list"
