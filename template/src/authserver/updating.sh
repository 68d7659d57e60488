# The update itself. `update.sh` reads this file whole and runs it in the project's folder.
#
# All is made in a clone, inside git's own folder. At its end the project gets the branch, whole. So an update
# that fails, is refused or interrupted leaves all as it was. No hook runs and nothing is signed: the branch is
# a proposal, and what merges it is a commit of yours.
set -eu

copier() {
    uvx --quiet 'copier==9.19.1' "$@"
}

fail() {
    echo "$1" >&2
    exit 1
}

# Whatever a global setting says: no hooks, and files as they are committed, without other line ends.
clone() {
    git clone --quiet --template= --config core.hooksPath=/dev/null --config core.autocrlf=false "$@"
}

own_git() {
    git -c core.hooksPath=/dev/null -c gc.auto=0 "$@"
}

bundle=
case "${1-}" in
    "") ;;
    --bundle)
        test $# = 2 || fail "Name the bundle: sh src/authserver/update.sh --bundle update.bundle"
        bundle="$(cd "$(dirname "$2")" && pwd)/$(basename "$2")"
        ;;
    *) fail "$1 is not known. Example: sh src/authserver/update.sh --bundle update.bundle" ;;
esac

# ------------------------------------------------------------------------------------------------- a clone

# What git is told not to show counts, too: it may be in the way of what the update brings.
if test -n "$(git status --porcelain --untracked-files=all)"; then
    git diff --quiet HEAD -- .copier-answers.yml ||
        echo "An earlier update stopped half-way, it seems. This takes it back, and all else that is not committed:
git reset --hard && git clean -df && git checkout -" >&2
    fail "Commit your work first: an update is merged into what is committed."
fi
head="$(git rev-parse --verify HEAD)"
place="$(git rev-parse --show-toplevel)"
folder="$(git rev-parse --show-prefix)"
own="$(git rev-parse --absolute-git-dir)"
for left in "$own"/authserver-update.*; do # by an update that was killed
    test ! -e "$left" || kill -0 "${left##*.}" 2> /dev/null || rm -rf "$left"
done
scratch="$own/authserver-update.$$"
mkdir "$scratch" || fail "Nothing was changed: git's folder cannot be written."
leave() {
    code=$?
    trap - EXIT
    cd "$place"
    rm -rf "$scratch"
    exit "$code"
}
trap leave EXIT
for signal in HUP INT TERM; do
    trap 'echo "Interrupted: all is as it was before." >&2; exit 130' "$signal"
done

clone --no-checkout --no-tags --shared "$place" "$scratch/project"
mkdir "$scratch/project/.git/info"
echo "* -text" > "$scratch/project/.git/info/attributes"
# Submodules are those that are here.
git submodule --quiet foreach 'echo "$sm_path $name"' > "$scratch/submodules"
here="$(pwd)"
cd "$scratch/project"
git checkout --quiet --detach "$head"
while read -r path name; do
    git config "submodule.$name.url" "$place/$path"
    git -c protocol.file.allow=always submodule --quiet update --init -- "$path"
done < "$scratch/submodules"
cd "./$folder"

# ---------------------------------------------------------------------------------------------- the release

# The template is fetched once. What is looked at here is what Copier reads.
answers() { # the lines that name the template; with 1, the others
    awk -v others="${1:-0}" '/^_src_path:/ { on = 1 } !/^(_src_path:| )/ { on = 0 } on != others' .copier-answers.yml
}
answer() {
    sed -n "s/^$1: *//p" .copier-answers.yml | tr -d "\"'"
}
answers > "$scratch/source"
source="$(answer _src_path)"
case $source in
    gh:*) source="https://github.com/${source#gh:}" ;;
    gl:*) source="https://gitlab.com/${source#gl:}" ;;
    git+*) source="${source#git+}" ;;
    "~/"*) source="$HOME/${source#"~/"}" ;;
esac
case $source in
    *.git) ;;
    https://github.com/* | https://gitlab.com/*) source="$source.git" ;;
esac
(cd "$here" && clone -- "$source" "$scratch/template") ||
    fail "The template cannot be reached: see _src_path in .copier-answers.yml."

template() {
    git -C "$scratch/template" "$@"
}
newest="$(
    template for-each-ref --sort=-version:refname --format='%(refname:strip=2)' refs/tags |
        grep -E '^v?[0-9]+(\.[0-9]+)*$' | head -n 1
)"
newest="${newest:-HEAD}"
previous="$(answer _commit)"
if test "$newest" = "$previous"; then
    echo "There is no newer release."
    exit
fi

{
    answers 1
    printf "_src_path: '%s'\n" "$(echo "$scratch/template" | sed "s/'/''/g")"
} > "$scratch/answers"
cp "$scratch/answers" .copier-answers.yml
name="$(git -C "$place" config user.name || echo authserver-update)"
email="$(git -C "$place" config user.email || echo authserver-update@localhost)"
commit() {
    git -c user.name="$name" -c user.email="$email" commit --quiet --no-verify --no-gpg-sign "$@"
}
commit --all -m "The template is here"

# ------------------------------------------------------------------------------------------------ its signers

# Stop unless one of the signers signed a release: its tag or, where there is none, its commit.
require_signed() {
    if template rev-parse --quiet --verify "refs/tags/$1" > /dev/null; then
        # A tag has its name inside: an old one is not shown under a new name.
        template cat-file tag "refs/tags/$1" 2> /dev/null | sed '/^$/q' | grep -qxF "tag $1" &&
            signed verify-tag "refs/tags/$1"
    else
        signed verify-commit "$1"
    fi 2> "$scratch/why" || {
        cat "$scratch/why" >&2
        fail "NOT VERIFIED: no signer that this project knows (src/authserver/allowed_signers) signed $1 of the template.
Nothing was changed. docs/updating.md of the template says what may be the matter."
    }
}
# With SSH keys only: what gpg believes is another matter.
signed() {
    template -c gpg.ssh.allowedSignersFile="$scratch/signers" -c gpg.ssh.program=ssh-keygen \
        -c gpg.program=false -c gpg.openpgp.program=false -c gpg.x509.program=false "$@"
}

if grep -q '^[^#[:space:]]' src/authserver/allowed_signers; then
    cp src/authserver/allowed_signers "$scratch/signers"
    # New signers are announced by a file that a known one signed.
    for file in allowed_signers allowed_signers.sig; do
        template show "$newest:template/src/authserver/$file" > "$scratch/new.$file" 2> /dev/null || true
    done
    if who="$(ssh-keygen -Y find-principals -f "$scratch/signers" -s "$scratch/new.allowed_signers.sig" 2> /dev/null |
        head -n 1)" &&
        ssh-keygen -Y verify -f "$scratch/signers" -I "$who" -n authserver-signers \
            -s "$scratch/new.allowed_signers.sig" < "$scratch/new.allowed_signers" > /dev/null 2>&1; then
        cat "$scratch/new.allowed_signers" >> "$scratch/signers"
    fi
    require_signed "$newest"
    require_signed "$previous" # or else what you changed could be judged wrongly, and a fix be taken for a wish of yours
    doubt=
else
    doubt="NOT VERIFIED: no signer is known, so this update is what the template's address gave. To have the next ones
verified, put the maintainers' key into src/authserver/allowed_signers, which says how."
fi

# ------------------------------------------------------------------------------------------------- the update

copier check-update --quiet && newer=0 || newer=$?
case $newer in
    0) echo "There is no newer release." && exit ;;
    2) ;;
    *) fail "Copier cannot tell whether there is a newer release; it says why above." ;;
esac

copier update --defaults --quiet --vcs-ref "$newest" || fail "Copier could not update; it says why above."
awk 'FNR == NR { source = source $0 "\n"; next } /^_src_path:/ { on = 1; printf "%s", source } !/^(_src_path:| )/ { on = 0 } !on' \
    "$scratch/source" .copier-answers.yml > "$scratch/answers"
cp "$scratch/answers" .copier-answers.yml

# Copier ends with 0 after a conflict, too.
conflicts="$(
    git diff --name-only --relative --diff-filter=U
    git grep --untracked -lE '^(<{7} before updating|>{7} after updating)$' || true
    git ls-files --others -- '*.rej'
)"
test -z "$conflicts" ||
    fail "What you changed and what the update changes meet in these files: run \`uvx copier update --defaults\`,
resolve the conflicts there, test and commit.
$(echo "$conflicts" | sort -u)"

git reset --quiet --soft "$head"
release="$(answer _commit)"
branch="authserver-update-$release"
is_there() {
    git -C "$place" rev-parse --quiet --verify "refs/heads/$branch" > /dev/null
}
if is_there; then
    echo "The branch $branch is there already: merge it, or delete it."
    exit
fi
locked=
if test -e uv.lock; then
    locked=--locked
fi
# Also of a project around this one, which has it as a requirement.
around="$(pwd)"
while test "$around" != "$scratch"; do
    if test -e "$around/uv.lock"; then
        (cd "$around" && uv lock --quiet) || fail "Nothing was changed: \`uv lock\` failed; it says why above."
    fi
    around="$(dirname "$around")"
done
git add --all
commit -m "Update authserver to $release" \
    -m "$(git diff --cached --unified=0 -- src/authserver/CHANGELOG.md | sed -n '/^+++/d; s/^+//p')"
git log -1 --format=%B
test -z "$doubt" || echo "$doubt" >&2

if test -n "$bundle"; then
    git branch "$branch"
    git bundle create --quiet "$bundle" "$branch" "^$head"
    exit
fi
uv run $locked pytest && tested="and its tests pass." ||
    tested="but tests fail: see which, before you merge it."

# ---------------------------------------------------------------------------------------------- what comes of it

trap '' HUP INT TERM # from here on it is done whole
made="$(git rev-parse HEAD)"
cd "$place"
own_git fetch --quiet --no-tags --no-write-fetch-head --no-recurse-submodules "$scratch/project" HEAD ||
    fail "Nothing was changed: git could not take the update over; it says why above."
own_git update-ref "refs/heads/$branch" "$made" "" || # which refuses one that is there
    fail "Nothing was changed: the branch $branch could not be made. Did another update run at the same time?"
if test "$(git rev-parse HEAD)" != "$head" || test -n "$(git status --porcelain --untracked-files=all)"; then
    echo "Your files changed meanwhile; \`git checkout $branch\` shows those of the update." >&2
elif ! own_git checkout --quiet --no-overwrite-ignore "$branch"; then
    own_git reset --quiet --hard
    git clean --quiet -df
    own_git update-ref -d "refs/heads/$branch" "$made"
    fail "Nothing was changed: git could not check out the update; it says why above."
fi
test "$tested" = "and its tests pass." || fail "The update is on the branch $branch, $tested"
echo "The update is on the branch $branch, $tested"
