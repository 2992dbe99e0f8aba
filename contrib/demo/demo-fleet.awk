# demo-fleet.awk: makes the table of demo-fleet.sh from Prometheus' data, as `promtool query instant` prints it.
# missing_file gets one line for each missing value, and no line if nothing is missing. hosts: for each host its name,
# address, the port of its iperf3, the port of its exporter. dead_port: the port of the target that is down, on the last
# host. alerts: 1 if there are alerts.

# name{label="value", ...} => number @[time]
{
    at = index($0, "} => ")
    if (!at) next
    value = substr($0, at + 5)
    sub(/ .*/, "", value)
    name = substr($0, 1, index($0, "{") - 1)
    job = label("job")
    probe = label("exporter") "|" label("instance") "|" job
    if (name == "up") {
        targets++
        if (job == "iperf3-exporter") exporter_up[label("instance")] = value
    } else if (name == "iperf3_failure_info") {
        reason[probe] = label("reason")
    } else if (name == "iperf3_interval_bandwidth_bytes_per_second") {
        at_quantile[probe "|" label("quantile")] = value
    } else if (name == "iperf3_exporter_test_bytes_total") {
        bytes[label("instance") "|" label("direction")] = value
    } else if (name == "ALERTS") {
        alert[++alert_count] = alert_text()
        if (label("instance") == dead_target()) dead_alert = 1
    } else {
        series[name "|" probe] = value
    }
}

END {
    printf "" >missing_file
    count = split(hosts, word, " ") / 4
    row("from", "to", "test", "up", "Mbit/s", "10%", "90%", "loss %", "RTT ms", "resent", "age s")
    for (i = 1; i <= count; i++) {
        for (j = 1; j <= count; j++) {
            if (i != j) all_tests(i, host_name(j), address(j) ":" server_port(j), 0)
        }
        if (i == 1) all_tests(i, host_name(count) ":" dead_port, dead_target(), 1)
    }
    print "Mbit/s: what arrived, and the rates that 10 % and 90 % of the seconds did not exceed, of those that were counted"
    print "at the exporter. RTT: under the test's load. Hosts measure at the same time, and share their links."
    show_alerts()
    show_bytes()
    # Each probe once, and each exporter once.
    expected = 3 * (count * (count - 1) + 1) + count
    if (targets != expected) miss("Prometheus scrapes " (targets + 0) " targets, and not " expected)
}

function all_tests(from, to, instance, is_dead) {
    one_test(from, to, instance, is_dead, "iperf3", "upload")
    one_test(from, to, instance, is_dead, "iperf3-download", "download")
    one_test(from, to, instance, is_dead, "iperf3-udp", "udp")
}

function one_test(from, to, instance, is_dead, its_job, test,    key, what, up, way) {
    key = address(from) ":" exporter_port(from) "|" instance "|" its_job
    what = host_name(from) " to " to ", " test ": "
    up = get("iperf3_up", key)
    way = test == "download" ? "download" : "upload"
    row(host_name(from), to, test, up == "" ? "?" : up == 1 ? "yes" : reason[key],
        number(get("iperf3_bandwidth_bytes_per_second", key), 8 / 1e6),
        number(at_quantile[key "|0.1"], 8 / 1e6), number(at_quantile[key "|0.9"], 8 / 1e6),
        number(get("iperf3_packet_loss_ratio", key), 100), number(get("iperf3_tcp_rtt_mean_seconds", key), 1000),
        whole(get("iperf3_tcp_retransmits", key)), whole(get("iperf3_result_age_seconds", key)))
    if (is_dead) {
        if (up == "" || up != 0) miss(what "iperf3_up 0")
        if (reason[key] != "refused") miss(what "the reason refused")
        return
    }
    if (up != 1) miss(what "iperf3_up 1")
    if (get("iperf3_bandwidth_bytes_per_second", key) <= 0) miss(what "a bandwidth")
    if (get("iperf3_bandwidth_" way "_mbps", key) <= 0) miss(what "the recorded bandwidth")
    if (at_quantile[key "|0.1"] == "" || at_quantile[key "|0.9"] == "") miss(what "the spread")
    if (test == "udp" && get("iperf3_packet_loss_ratio", key) == "") miss(what "the loss")
    if (test != "udp" && get("iperf3_tcp_retransmits", key) == "") miss(what "the retransmits")
    if (test == "upload" && get("iperf3_tcp_rtt_mean_seconds", key) <= 0) miss(what "the round trip time")
}

function show_alerts(    i) {
    print ""
    if (!alerts) {
        print "Alerts: there is no contrib/alerts.yml"
        return
    }
    print "Alerts:"
    # Insertion sort: there are few alerts, and not every awk has a sort.
    for (i = 2; i <= alert_count; i++) {
        for (j = i; j > 1 && alert[j] < alert[j - 1]; j--) { text = alert[j]; alert[j] = alert[j - 1]; alert[j - 1] = text }
    }
    for (i = 1; i <= alert_count; i++) print "    " alert[i]
    if (!dead_alert) miss("an alert, pending or firing, of the target that is down")
}

function alert_text(    text) {
    text = sprintf("%-8s %-28s", label("alertstate"), label("alertname"))
    if (label("exporter") != "") text = text " from " named(label("exporter"))
    if (label("instance") != "") text = text (label("exporter") != "" ? " to " : " ") named(label("instance"))
    if (job != "") text = text ", " job
    if (label("reason") != "") text = text ", " label("reason")
    return text
}

function show_bytes(    i, instance, up, down) {
    print ""
    print "What the tests cost:"
    for (i = 1; i <= count; i++) {
        instance = address(i) ":" exporter_port(i)
        up = bytes[instance "|upload"]
        down = bytes[instance "|download"]
        if (exporter_up[instance] != 1) miss(host_name(i) ": the exporter's own metrics")
        if (up <= 0 || down <= 0) miss(host_name(i) ": the bytes that its tests took")
        printf "    %-6s %8.1f MB sent, %8.1f MB received\n", host_name(i), up / 1e6, down / 1e6
    }
}

# An address with a port, with the host's name instead of the address.
function named(where,    i, n, w, colon) {
    n = split(hosts, w, " ") / 4
    for (i = 0; i < n; i++) {
        colon = index(where, ":")
        if (substr(where, 1, colon - 1) != w[4 * i + 2]) continue
        where = substr(where, colon + 1)
        return where == w[4 * i + 3] || where == w[4 * i + 4] ? w[4 * i + 1] : w[4 * i + 1] ":" where
    }
    return where
}

function dead_target(    n, w) {
    n = split(hosts, w, " ") / 4
    return w[4 * n - 2] ":" dead_port
}

function host_name(i) { return word[4 * i - 3] }
function address(i) { return word[4 * i - 2] }
function server_port(i) { return word[4 * i - 1] }
function exporter_port(i) { return word[4 * i] }

# The value of a label of the line, or an empty text.
function label(its_name,    text) {
    if (!match($0, "[{ ]" its_name "=\"[^\"]*\"")) return ""
    text = substr($0, RSTART, RLENGTH)
    sub(/^[^"]*"/, "", text)
    sub(/"$/, "", text)
    return text
}

function get(family, key) { return (family "|" key) in series ? series[family "|" key] : "" }
function number(value, factor) { return value == "" ? "-" : sprintf("%.1f", value * factor) }
function whole(value) { return value == "" ? "-" : sprintf("%.0f", value) }
function miss(what) { print what >>missing_file }

function row(a, b, c, d, e, f, g, h, i, j, k) {
    printf "%-6s %-8s %-9s %-10s %8s %8s %8s %7s %7s %7s %6s\n", a, b, c, d, e, f, g, h, i, j, k
}
