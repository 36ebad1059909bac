#!/bin/sh
# What `make demo` runs: index the samples, ask a few questions, and on a terminal stay to be asked more.
set -eu
cd "$(dirname "$0")/../.."
SEMSEARCH_HOME=$PWD/.semsearch # a home of its own: nobody's collections are touched
export SEMSEARCH_HOME

run() { # show the command as one would type it, then do it
    printf '\n$'
    for word; do
        case $word in
            *[!A-Za-z0-9._/-]*) printf ' "%s"' "$word" ;;
            *) printf ' %s' "$word" ;;
        esac
    done
    printf '\n'
    "$@"
}

run semsearch index corpora/samples/samples.jsonl
run semsearch query samples "my dog ate sweets" -k 3
run semsearch query samples "best way to study so that it sticks" -k 3
run semsearch query samples "why does adding decimals on a computer give a tiny error" -k 3
run semsearch query samples "who deciphered the writing of the pharaohs?" -k 3

if [ -t 0 ] && [ -t 1 ]; then
    run semsearch query samples
else
    printf '\nOn a terminal, "semsearch query" would now ask for more.\n'
fi
