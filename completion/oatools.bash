# Completion of oatools in bash:  source oatools.bash

_oatools() {
    local command=${1##*/} variable response line kind value
    variable=${command^^}
    variable="_${variable//-/_}_COMPLETE"
    COMPREPLY=()
    response=$(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" "$variable=bash_complete" "$1" 2> /dev/null)
    while IFS= read -r line; do
        kind=${line%%,*} value=${line#*,}
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            dir) compopt -o dirnames 2> /dev/null ;;
        esac
    done <<< "$response"
}

# Where the command knows nothing, as for the names of scans and tables, bash completes file names.
complete -o bashdefault -o default -F _oatools \
    oa-cam oa-check oa-convert oa-cv oa-doctor oa-embed oa-enrich oa-info oa-label oa-n4 oa-orient oa-pairs oa-phantom oa-predict oa-train oa-validate oa-view
