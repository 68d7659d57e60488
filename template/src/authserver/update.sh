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
set -eu
cd "$(dirname "$0")/../.."
exec sh -c "$(cat src/authserver/updating.sh)" update.sh "$@"

# What follows is for the one update from 0.2.0, whose script was all in this file. A shell that reads line by line, as
# bash does, goes on below once Copier has put this file in its place: at byte 1189 (release 0.2.0) or 1269 (what came
# soon after it). It takes the old way back, and lets the new script do all of it. A shell that had read all
# of the old one ends as that did; it may read on, but not before byte 2347: so this file is shorter.
######################################################################################################
updating="$(cat src/authserver/updating.sh)"
undo
exec sh -c "$updating" update.sh
