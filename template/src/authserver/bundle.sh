#!/bin/sh
# Make a bundle of this project, for a machine without a network: all wheels, checksums, a signature.
#
#     sh src/authserver/bundle.sh --key ~/.ssh/id_ed25519 FOLDER
#
# --for TARGET    what `python3 src/authserver/install.py --target` says on that machine; else this one's
# --flaws FILE    a list of known flaws that is handed along: see `known-flaws` of the project
# --unsigned      in place of --key
#
# What is committed is bundled, with what uv.lock names. It needs git, uv, and a network for the wheels: pip gets them
# from where PIP_INDEX_URL or UV_DEFAULT_INDEX says. Inside, `install.py` takes it; docs/deploying.md of the template
# says how.
set -eu

fail() {
    echo "$1" >&2
    exit 1
}

key= unsigned= target= flaws= folder=
while test $# -gt 0; do
    case $1 in
        --key | --for | --flaws) test $# -gt 1 || fail "$1 needs a value." ;;
    esac
    case $1 in
        --key) key="$2" && shift ;;
        --for) target="$2" && shift ;;
        --flaws) flaws="$2" && shift ;;
        --unsigned) unsigned=yes ;;
        -*) fail "$1 is not known. Example: sh src/authserver/bundle.sh --key ~/.ssh/id_ed25519 FOLDER" ;;
        *) folder="$1" ;;
    esac
    shift
done
test -d "$folder" || fail "Name the folder that the bundle is made in. Example: sh src/authserver/bundle.sh --key ~/.ssh/id_ed25519 /media/usb"
test -n "$key$unsigned" || fail "Name the key that signs the bundle: --key ~/.ssh/id_ed25519, or say --unsigned."
test -z "$key" || test -r "$key" || fail "$key cannot be read."
test -z "$flaws" || test -r "$flaws" || fail "$flaws cannot be read."
absolute() {
    case $1 in "" | /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac
}
folder="$(cd "$folder" && pwd)" key="$(absolute "$key")" flaws="$(absolute "$flaws")"

cd "$(dirname "$0")/../.."
target="${target:-$(python3 src/authserver/install.py --target)}"
python="$(echo "$target" | sed -n 's/^cp3\([0-9]*\)-manylinux_2_[0-9]*_[a-z0-9_]*$/3.\1/p')"
test -n "$python" || fail "$target is no target. Example: --for cp311-manylinux_2_36_x86_64"
arch="${target#*-manylinux_2_*_}"
glibc="${target#*-manylinux_2_}" && glibc="${glibc%%_*}"

if grep '^app:' .copier-answers.yml | grep -qv 'app\.server:mcp'; then
    fail "This server is that of a project around it, which has to be bundled by its own means: here is half of it only."
fi
test -z "$(git status --porcelain .)" || fail "Commit your work first: what is committed is bundled."
git ls-files --error-unmatch uv.lock > /dev/null 2>&1 || fail "uv.lock is not committed: uv lock && git add uv.lock"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
source="$scratch/source" bundle="$scratch/bundle"
mkdir -p "$source" "$bundle/wheels"
git archive --format=tar HEAD | tar -x -C "$source"
project="$(sed -n '/^\[project\]/,/^\[/s/^name = "\(.*\)"/\1/p' "$source/pyproject.toml")"
made_at="$(git log -1 --format=%ct)"
release="$(TZ=UTC git log -1 --date=format-local:%Y%m%dT%H%M%SZ --format=%cd-%h)-$target"
made="$folder/$project-$release"
test ! -e "$made" || fail "$made is there already."

# The project, and what uv.lock names: each with the hash that stands there, for that machine only.
cd "$source"
uv build --quiet --wheel --out-dir "$scratch/built" .
uv export --quiet --locked --no-dev --no-emit-project --output-file "$scratch/all.txt"
uv export --quiet --locked --no-dev --format cyclonedx1.5 --output-file "$bundle/sbom.cdx.json"
uv pip compile --quiet --no-deps --generate-hashes --python-version "$python" \
    --python-platform "$arch-unknown-linux-gnu" --output-file "$scratch/these.txt" "$scratch/all.txt"
test -z "${UV_DEFAULT_INDEX-}" || export PIP_INDEX_URL="${PIP_INDEX_URL:-$UV_DEFAULT_INDEX}"
platforms="--platform=manylinux2014_$arch"
for minor in $(seq 5 "$glibc"); do
    platforms="$platforms --platform=manylinux_2_${minor}_$arch"
done
# shellcheck disable=SC2086 # several words
uvx --quiet 'pip==26.3' download -qq --no-deps --require-hashes --only-binary=:all: $platforms \
    --implementation=cp --python-version="$python" --dest="$bundle/wheels" --requirement="$scratch/these.txt"
cp "$scratch"/built/*.whl "$bundle/wheels"

cp src/authserver/install.py .env.example "$bundle"
test ! -e deploy || cp -R deploy "$bundle"
test -z "$flaws" || cp "$flaws" "$bundle/known-flaws.zip"
printf '{"project": "%s", "release": "%s", "made_at": %s, "target": "%s"}\n' \
    "$project" "$release" "$made_at" "$target" > "$bundle/bundle.json"
cd "$bundle/wheels"
for wheel in *.whl; do
    version="${wheel#*-}"
    echo "${wheel%%-*}==${version%%-*} --hash=sha256:$(sha256sum "$wheel" | cut -c 1-64)"
done > ../requirements.txt
cd ..
find . -type f | LC_ALL=C sort | sed 's,^\./,,' | tr '\n' '\0' | xargs -0 sha256sum > "$scratch/SHA256SUMS"
mv "$scratch/SHA256SUMS" .
test -z "$key" || ssh-keygen -q -Y sign -f "$key" -n authserver-bundle SHA256SUMS
# Whole or not at all: media are taken out too early.
cp -R "$bundle" "$made.partial"
sync
mv "$made.partial" "$made"
echo "$made"
