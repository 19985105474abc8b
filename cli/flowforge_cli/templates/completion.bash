# flowforge: completion for bash
_flowforge_completion() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" seen="${COMP_WORDS[COMP_CWORD]}" word about
    # Bash replaces what stands behind the last of its own word breaks (= : @), and an @ itself; not the whole word.
    local whole="${line##*[[:blank:]]}"
    [[ $seen == [=:@] ]] && seen=""
    local before="${whole%"$seen"}"
    before="${before%@}"
    COMPREPLY=()
    while IFS=$'\t' read -r word about; do
        COMPREPLY+=("${word#"$before"}")
    done < <(_FLOWFORGE_COMPLETE=words _FLOWFORGE_LINE="$line" "$1" 2>/dev/null)
    compopt -o nosort 2>/dev/null
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace 2>/dev/null
    return 0
}

complete -o default -F _flowforge_completion flowforge
