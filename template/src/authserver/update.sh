#!/bin/sh
# Bring the newest release of the template into this project: on a branch of its own, and tested.
#
#     sh src/authserver/update.sh                    the branch, in this project
#     sh src/authserver/update.sh --bundle FILE      the branch, not tested, in a bundle of git: for the weekly job
#
# All work has to be committed. Where there is nothing newer, nothing happens. Where something is to be done by
# hand, it says what, and ends with 1; unless only tests failed, all is then as it was before.
#
# An update may replace this file while a shell reads it. So the work stands in updating.sh, and is read whole.
case $(tail -n 1 "$0") in *"$(printf '\r')") echo "$0 has CRLF: clone with core.autocrlf=false" >&2; exit 1 ;; esac #
set -eu
cd "$(dirname "$0")/../.."
exec sh -c "$(cat src/authserver/updating.sh)" update.sh "$@"

# What follows is for the update from 0.2.0, whose script was all in here. Copier puts this one in its place while
# a shell reads: bash goes on at byte 1189 (0.2.0) or 1269 (soon after). It takes the old way back, and the new
# script does all of it.
#
####################################################################################################################################################################################
updating="$(cat src/authserver/updating.sh)"
undo
exec sh -c "$updating" update.sh

# busybox reads 1023 bytes at a time: it goes on at byte 2046, in the middle of a line about `git commit` or `uv lock`,
# which comes to nothing. The branch is its own, made a line before.
##############################################################################################################
##############################################################################################################
##############################################################################################################
##############################################################################################################
###############################################
 2> /dev/null || :
updating="$(cat src/authserver/updating.sh)"
undo
git branch --quiet -D "$branch"
exec sh -c "$updating" update.sh

# dash and zsh have read all of the old script. At its end they read on, at byte 2347 or later: here it has ended.
