#!/bin/sh
# Bring the newest release of the template into this project: on a branch of its own, and tested.
#
#     sh src/authserver/update.sh
#
# All work has to be committed. Where there is nothing newer, nothing happens. Where something is to be done by
# hand, it says what, and ends with 1: after a conflict all is as it was before.
set -eu
cd "$(dirname "$0")/../.."

branch=authserver-update

copier() {
    uvx --quiet 'copier>=9.19,<10' "$@"
}

fail() {
    echo "$1" >&2
    exit 1
}

test -z "$(git status --porcelain)" || fail "Commit your work first: an update is merged into what is committed."

copier check-update --quiet && newer=0 || newer=$?
case $newer in
    0) echo "There is no newer release." && exit ;;
    2) ;;
    *) fail "The template cannot be reached: see _src_path in .copier-answers.yml." ;;
esac

git checkout --quiet -B "$branch"
copier update --defaults --quiet

# Copier ends with 0 all the same.
conflicts="$(
    git diff --name-only --diff-filter=U
    git grep --untracked -lE '^(<{7} before updating|>{7} after updating)$' || true
    git ls-files --others -- '*.rej'
)"
if test -n "$conflicts"; then
    # All was committed, so what is not in git now came with the update.
    git reset --quiet --hard
    git clean --quiet -df
    git checkout --quiet -
    git branch --quiet -D "$branch"
    fail "What you changed and what the update changes meet in these files: run \`uvx copier update --defaults\`,
resolve the conflicts there, test and commit.
$(echo "$conflicts" | sort -u)"
fi

test ! -e uv.lock || uv lock --quiet
git add --all
git commit --quiet -m "Update authserver to $(sed -n 's/^_commit: //p' .copier-answers.yml)" \
    -m "$(git diff --cached --unified=0 -- src/authserver/CHANGELOG.md | sed -n '/^+++/d; s/^+//p')"
git log -1 --format=%B

uv run pytest || fail "The update is on the branch $branch, but tests fail: see which, before you merge it."
echo "The update is on the branch $branch, and its tests pass."
