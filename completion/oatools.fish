# Completion of oatools in fish:  source oatools.fish

function __oatools
    set -l command $argv[1]
    set -l variable _(string upper (string replace -a -- - _ $command))_COMPLETE
    for line in (env $variable=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -t) $command 2> /dev/null)
        set -l parts (string split -m 1 , -- $line)
        test "$parts[1]" = plain; and echo $parts[2]
    end
end

# Where the command knows nothing, as for the names of scans and tables, fish completes file names.
for command in oa-cam oa-check oa-convert oa-cv oa-doctor oa-embed oa-enrich oa-info oa-label oa-n4 oa-orient oa-pairs oa-phantom oa-predict oa-train oa-validate oa-view
    complete -c $command -a "(__oatools $command)"
end
