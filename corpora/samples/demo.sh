#!/bin/sh
# What `make demo` runs: index the samples, ask a few questions, and on a terminal stay to be asked more; with PAGE, at a
# page in the browser, whose address stands in the last line.
set -eu
cd "$(dirname "$0")/../.."
SEMSEARCH_HOME=$PWD/.semsearch # a home of its own: nobody's collections are touched
export SEMSEARCH_HOME

show() { # the command as one would type it
    printf '\n$'
    for word; do
        case $word in
            *[!A-Za-z0-9._/=-]*) printf ' "%s"' "$word" ;;
            *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
}

run() {
    show "$@"
    "$@"
}

run semsearch index corpora/samples/samples.jsonl
run semsearch query samples "my dog ate sweets" -k 3
run semsearch query samples "best way to study so that it sticks" -k 3
run semsearch query samples "why does adding decimals on a computer give a tiny error" -k 3
run semsearch query samples "who deciphered the writing of the pharaohs?" -k 3

if [ -n "${PAGE:-}" ]; then
    printf '\nA page to search with comes at the address below, where there is a free port. Ctrl-C ends it.\n'
    set -- semsearch serve --port 0 --folder samples=corpora/samples --folder docs=docs --quiet
    show "$@"
    exec "$@"
fi

if [ -t 0 ] && [ -t 1 ]; then
    run semsearch query samples
else
    printf '\nOn a terminal, "semsearch query" would now ask for more.\n'
fi
