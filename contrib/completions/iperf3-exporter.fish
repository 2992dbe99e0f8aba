# Completion of iperf3-exporter's command line in fish, 3.0 and later.
#
# To have it: copy this file to /usr/share/fish/vendor_completions.d, or to ~/.config/fish/completions.
# The list of flags is written from the program's own table (src/docs.rs): edit the table, not the list.

# Whether the command line has none of these flags yet.
function __iperf3_exporter_lacks
    for word in (commandline -opc)
        if contains -- (string replace -r '=.*' '' -- $word) $argv
            return 1
        end
    end
end

# The same, or the value of one of them comes next.
function __iperf3_exporter_wants
    contains -- (commandline -opc)[-1] $argv; or __iperf3_exporter_lacks $argv
end

# Nothing on this command line is a file but for what a flag says.
complete -c iperf3-exporter -f
# <!-- flags -->
complete -c iperf3-exporter -n '__iperf3_exporter_lacks -h --help' -s h -l help -d 'Show the help and exit.'
complete -c iperf3-exporter -n '__iperf3_exporter_lacks --version' -l version -d 'Show the version and exit.'
complete -c iperf3-exporter -l web.listen-address -x -d 'Address to listen on.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --web.telemetry-path' -l web.telemetry-path -x -d 'Path of the exporter\'s own metrics.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --web.probe-path' -l web.probe-path -x -d 'Path of the probe endpoint.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --web.config.file' -l web.config.file -r -F -d 'Web configuration file of the exporter-toolkit.'
complete -c iperf3-exporter -n '__iperf3_exporter_lacks --web.systemd-socket --no-web.systemd-socket' -l web.systemd-socket -d 'Use the sockets that systemd passes instead of --web.listen-address.'
complete -c iperf3-exporter -n '__iperf3_exporter_lacks --web.systemd-socket --no-web.systemd-socket' -l no-web.systemd-socket -d 'Turn it off, as by default.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --web.max-connections' -l web.max-connections -x -d 'Maximum simultaneous connections.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --iperf3.path --iperf3-path' -l iperf3.path -r -F -d 'The iperf3 binary.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --iperf3.path --iperf3-path' -l iperf3-path -r -F -d 'The iperf3 binary.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --iperf3.timeout' -l iperf3.timeout -x -d 'Maximum duration of one run of iperf3.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --iperf3.username' -l iperf3.username -x -d 'User name for servers that require authentication.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --iperf3.rsa-public-key-path' -l iperf3.rsa-public-key-path -r -F -d 'The server\'s public key in PEM form.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --iperf3.password-file' -l iperf3.password-file -r -F -d 'File with the password in its first line, read for each test.'
complete -c iperf3-exporter -n '__iperf3_exporter_lacks --iperf3.use-pkcs1-padding --no-iperf3.use-pkcs1-padding' -l iperf3.use-pkcs1-padding -d 'Encrypt with the old padding, which servers before iperf3 3.17 need.'
complete -c iperf3-exporter -n '__iperf3_exporter_lacks --iperf3.use-pkcs1-padding --no-iperf3.use-pkcs1-padding' -l no-iperf3.use-pkcs1-padding -d 'Turn it off, as by default.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --lock.timeout' -l lock.timeout -x -d 'Maximum wait for the test lock.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --probe.timeout-offset' -l probe.timeout-offset -x -d 'Subtracted from the scrape timeout, so that the response arrives before Prometheus gives up.'
complete -c iperf3-exporter -l probe.allow-target -x -d 'Allow only this target.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --probe.max-bytes-per-day' -l probe.max-bytes-per-day -x -d 'Daily budget of payload bytes, both directions together.'
complete -c iperf3-exporter -l port -x -d 'Short form of --web.listen-address=:PORT.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --log.level' -l log.level -x -a 'debug info warn error' -d 'Minimum level of log lines.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --log.format' -l log.format -x -a 'logfmt json' -d 'Format of log lines.'
complete -c iperf3-exporter -n '__iperf3_exporter_lacks --config.check --no-config.check' -l config.check -d 'Check everything that a start needs, and exit.'
complete -c iperf3-exporter -n '__iperf3_exporter_lacks --config.check --no-config.check' -l no-config.check -d 'Turn it off, as by default.'
complete -c iperf3-exporter -n '__iperf3_exporter_wants --health' -l health -x -d 'Ask the exporter at URL, such as http://127.0.0.1:9579/health, whether it is healthy, and exit.'
# <!-- /flags -->
