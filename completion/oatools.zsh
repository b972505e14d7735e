#compdef oa-cam oa-check oa-convert oa-cv oa-doctor oa-embed oa-enrich oa-info oa-label oa-n4 oa-orient oa-pairs oa-phantom oa-predict oa-train oa-validate oa-view
# Completion of oatools in zsh, after compinit:  source oatools.zsh

_oatools() {
    local command=${words[1]:t} kind value help
    local -a response plain described
    local variable="_${${(U)command}//-/_}_COMPLETE"
    response=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT - 1)) "$variable=zsh_complete" $words[1] 2> /dev/null)}")
    for kind value help in $response; do
        [[ $kind == plain ]] || continue
        if [[ $help == _ ]]; then
            plain+=("$value")
        else
            described+=("${value//:/\\:}:$help")
        fi
    done
    (( $#described )) && _describe -V option described -U
    (( $#plain )) && compadd -U -V values -a plain
    # Where the command knows nothing, as for the names of scans and tables.
    (( $#described + $#plain )) || _files
}

compdef _oatools oa-cam oa-check oa-convert oa-cv oa-doctor oa-embed oa-enrich oa-info oa-label oa-n4 oa-orient oa-pairs oa-phantom oa-predict oa-train oa-validate oa-view
