# shellcheck shell=bash
# Completion of iperf3-exporter's command line in bash, 3.2 and later, with or without the package bash-completion.
#
# To have it: copy this file to /usr/share/bash-completion/completions/iperf3-exporter, or source it in ~/.bashrc.
# The list of flags is written from the program's own table (src/docs.rs): edit the table, not the list.

# One flag a line: whether it may be given again, what follows it, its names.
# <!-- flags -->
_iperf3_exporter_flags='
alone none -h --help
alone none --version
often any --web.listen-address=
once any --web.telemetry-path=
once any --web.probe-path=
once file --web.config.file=
once none --web.systemd-socket --no-web.systemd-socket
once any --web.max-connections=
once file --iperf3.path= --iperf3-path=
once any --iperf3.timeout=
once any --iperf3.username=
once file --iperf3.rsa-public-key-path=
once file --iperf3.password-file=
once none --iperf3.use-pkcs1-padding --no-iperf3.use-pkcs1-padding
once any --lock.timeout=
once any --probe.timeout-offset=
often any --probe.allow-target=
once any --probe.max-bytes-per-day=
often any --port=
once debug,info,warn,error --log.level=
once logfmt,json --log.format=
once none --config.check --no-config.check
once any --health=
'
# <!-- /flags -->

# What follows the flag $1: none, file, any, or words with commas between them.
_iperf3_exporter_kind() {
    local again kind names
    while read -r again kind names; do
        case " $names " in
            *" $1 "* | *" $1= "*)
                echo "$kind"
                return
                ;;
        esac
    done <<<"$_iperf3_exporter_flags"
}

# The flags that may still be given; the words that are given already are the arguments.
_iperf3_exporter_open() {
    local again kind names name word given
    while read -r again kind names; do
        given=
        for name in $names; do
            for word in "$@"; do
                [[ ${word%%=*} != "${name%=}" ]] || given=yes
            done
        done
        [[ -z $names || ($given && $again != often) ]] || echo "$names"
    done <<<"$_iperf3_exporter_flags"
}

_iperf3_exporter() {
    local cur=${COMP_WORDS[COMP_CWORD]} flag='' before='' kind given
    COMPREPLY=()
    # bash takes `=` for the end of a word, unless somebody took it out of COMP_WORDBREAKS.
    if [[ $cur == --*=* ]]; then
        flag=${cur%%=*} before="${cur%%=*}=" cur=${cur#*=}
    elif ((COMP_CWORD >= 2)) && [[ $cur == = ]]; then
        flag=${COMP_WORDS[COMP_CWORD - 1]} cur=''
    elif ((COMP_CWORD >= 3)) && [[ ${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
        flag=${COMP_WORDS[COMP_CWORD - 2]}
    elif ((COMP_CWORD >= 2)); then
        flag=${COMP_WORDS[COMP_CWORD - 1]}
    fi

    kind=$(_iperf3_exporter_kind "${flag:-?}")
    case ${kind:-none} in
        none) ;;
        any) return ;;
        file)
            while IFS= read -r given; do COMPREPLY+=("$before$given"); done < <(compgen -f -- "$cur")
            # Quotes what needs it and puts a slash behind a folder; bash 3.2 has no compopt.
            [[ -n $before ]] || compopt -o filenames 2>/dev/null || true
            return
            ;;
        *)
            while IFS= read -r given; do COMPREPLY+=("$before$given"); done < <(compgen -W "${kind//,/ }" -- "$cur")
            return
            ;;
    esac

    # A value that is no flag's: there is nothing else on this command line.
    [[ -z $before && ${COMP_WORDS[COMP_CWORD]} != = ]] || return
    local -a words=("${COMP_WORDS[@]:1}")
    unset "words[COMP_CWORD-1]"
    while IFS= read -r given; do COMPREPLY+=("$given"); done \
        < <(compgen -W "$(_iperf3_exporter_open ${words[@]+"${words[@]}"})" -- "$cur")
    # A value follows the `=` at once.
    if ((${#COMPREPLY[@]} == 1)) && [[ ${COMPREPLY[0]} == *= ]]; then
        compopt -o nospace 2>/dev/null || true
    fi
}

complete -F _iperf3_exporter iperf3-exporter
