# flowforge: completion for fish
function __flowforge_words
    set -l line (commandline -cp | string collect)
    set -l found (env _FLOWFORGE_COMPLETE=words _FLOWFORGE_LINE="$line" flowforge 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end

complete --command flowforge --no-files --keep-order --arguments '(__flowforge_words)'
