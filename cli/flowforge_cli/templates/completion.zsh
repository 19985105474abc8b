#compdef flowforge
# flowforge: completion for zsh
_flowforge() {
    local -a described folders
    local word about
    while IFS=$'\t' read -r word about; do
        if [[ $word == */ ]]; then
            folders+=("$word")
        else
            described+=("${word//:/\\:}${about:+:$about}")
        fi
    done < <(_FLOWFORGE_COMPLETE=words _FLOWFORGE_LINE="${words[1,CURRENT]}" "${words[1]}" 2>/dev/null)
    if (( ! $#described && ! $#folders )); then
        _files
        return
    fi
    (( $#described )) && _describe -V flowforge described
    (( $#folders )) && compadd -S '' -- "${folders[@]}"
}

if [[ ${funcstack[1]} == _flowforge ]]; then
    _flowforge "$@"
else
    compdef _flowforge flowforge
fi
