#!/bin/sh
# Bring the newest release of the template into this project: on a branch of its own, and tested.
#
#     sh src/authserver/update.sh
#
# All work has to be committed. Where there is nothing newer, nothing happens. Where something is to be done by
# hand, it says what, and ends with 1; unless only tests failed, all is then as it was before.
set -eu
cd "$(dirname "$0")/../.."

copier() {
    uvx --quiet 'copier>=9.19,<10' "$@"
}

fail() {
    echo "$1" >&2
    exit 1
}

# All was committed, so what is not in git came with the update.
undo() {
    git reset --quiet --hard
    git clean --quiet -df
    git checkout --quiet "$before"
}

# What git is told not to show would be lost to `undo`.
test -z "$(git status --porcelain --untracked-files=all)" ||
    fail "Commit your work first: an update is merged into what is committed."

copier check-update --quiet && newer=0 || newer=$?
case $newer in
    0) echo "There is no newer release." && exit ;;
    2) ;;
    *) fail "The template cannot be reached: see _src_path in .copier-answers.yml." ;;
esac

before="$(git symbolic-ref --quiet --short HEAD || git rev-parse HEAD)"
git checkout --quiet --detach
copier update --defaults --quiet || { undo; fail "Copier could not update; it says why above."; }

# Copier ends with 0 after a conflict, too.
conflicts="$(
    git diff --name-only --diff-filter=U
    git grep --untracked -lE '^(<{7} before updating|>{7} after updating)$' || true
    git ls-files --others -- '*.rej'
)"
if test -n "$conflicts"; then
    undo
    fail "What you changed and what the update changes meet in these files: run \`uvx copier update --defaults\`,
resolve the conflicts there, test and commit.
$(echo "$conflicts" | sort -u)"
fi

release="$(sed -n 's/^_commit: //p' .copier-answers.yml)"
branch="authserver-update-$release"
if git rev-parse --quiet --verify "refs/heads/$branch" > /dev/null; then
    undo
    echo "The branch $branch is there already: merge it, or delete it."
    exit
fi
git checkout --quiet -b "$branch"
test ! -e uv.lock || uv lock --quiet
git add --all
git commit --quiet -m "Update authserver to $release" \
    -m "$(git diff --cached --unified=0 -- src/authserver/CHANGELOG.md | sed -n '/^+++/d; s/^+//p')"
git log -1 --format=%B

uv run pytest || fail "The update is on the branch $branch, but tests fail: see which, before you merge it."
echo "The update is on the branch $branch, and its tests pass."
