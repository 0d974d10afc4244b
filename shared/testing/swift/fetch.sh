#!/usr/bin/env bash
# Unpacks OpenStack Swift and the Python libraries that this machine lacks for it into FOLDER/root.
#
#   fetch.sh FOLDER        (new or empty; on Debian with apt-get, dpkg and /usr/bin/python3; any user)
#
# Nothing is installed and nothing of the machine's own apt is changed: apt works in a tree of its own, which is removed
# at the end. It takes the mirror, proxy and keys that this machine is set up with, and checks every package by them.
# Ends with 0, or with one sentence on standard error that says what is missing.
set -euo pipefail

# The first Swift that understands the checksums and chunked bodies of today's S3 clients.
wanted=2.35
# The oldest Debian release that has it. Its package is plain Python and runs on the release before as well.
release_with_it=trixie

give_up() {
  said=yes
  echo "Swift cannot be fetched on this machine: $1" >&2
  exit 1
}

[ $# -eq 1 ] || give_up 'say into which folder.'
for tool in apt-get apt-cache apt-config dpkg /usr/bin/python3; do
  command -v "$tool" >/dev/null || give_up "there is no $tool."
done
# shellcheck source=/dev/null
. /etc/os-release
if [ "${ID:-}" != debian ] || [ -z "${VERSION_CODENAME:-}" ]; then give_up 'it is not a Debian release.'; fi

mkdir -p "$1/apt/lists/partial" "$1/apt/cache/archives/partial" "$1/debs" "$1/root"
folder=$(cd "$1" && pwd)
log=$folder/apt/log

put_away() {
  local status=$? last
  last=$(tail -n 1 "$log" 2>/dev/null) || true
  rm -rf "$folder/apt" "$folder/debs"
  if [ "$status" -ne 0 ] && [ -z "${said:-}" ]; then give_up "a step failed${last:+: $last}."; fi
}
trap 'put_away' EXIT

# How to reach mirrors is the machine's affair; what apt does after an update on this machine is not ours to start.
{
  apt-config dump | grep '^Acquire::' || true
  cat <<CONF
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "$folder/apt/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State::lists "$folder/apt/lists";
Dir::Cache "$folder/apt/cache";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::AllowInsecureRepositories "false";
APT::Get::AllowUnauthenticated "false";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
CONF
} >"$folder/apt/apt.conf"

private() {
  APT_CONFIG=$folder/apt/apt.conf "$@" 2>>"$log"
}

# Runs the given `apt-get indextargets` and prints the address of the mirror that has this release.
first_mirror() {
  "$@" --format "\$(CODENAME) \$(COMPONENT) \$(REPO_URI)" 'Created-By: Packages' |
    awk -v codename="$VERSION_CODENAME" '$1 == codename && $2 == "main" && !found { print $3; found = 1 }'
}

mirror=$(first_mirror apt-get indextargets 2>>"$log") || true
if [ -z "$mirror" ]; then
  # A bare container: before an update apt does not know its own mirrors.
  own=(-o Dir::Etc::sourcelist=/etc/apt/sources.list -o Dir::Etc::sourceparts=/etc/apt/sources.list.d)
  private apt-get "${own[@]}" update -qq || true # Of other sources, some may fail.
  mirror=$(first_mirror private apt-get "${own[@]}" indextargets) || true
fi
[ -n "$mirror" ] || give_up "apt knows no mirror for $VERSION_CODENAME."

for keyring in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
  if [ -r "$keyring" ]; then signed_by="[signed-by=$keyring]"; break; fi
done

look_at() {
  echo "deb ${signed_by:-} $mirror $1 main" >"$folder/apt/sources.list"
  private apt-get update -qq || give_up "apt could not read $1's packages: $(tail -n 1 "$log")"
}

has_wanted() {
  dpkg --compare-versions "$(private apt-cache policy python3-swift | awk '/Candidate:/ { print $2 }')" ge "$wanted"
}

download() {
  (cd "$folder/debs" && private apt-get download -qq "$@" >>"$log") ||
    give_up "apt could not download a package: $(tail -n 1 "$log")"
}

look_at "$VERSION_CODENAME"
# Libraries must fit this machine's Python, so they come from its own release.
mapfile -t libraries < <(
  private apt-get install --simulate --no-install-recommends python3-swift |
    awk '$1 == "Inst" && $2 != "python3-swift" { print $2 }'
)
[ ${#libraries[@]} -eq 0 ] || download "${libraries[@]}"
has_wanted || look_at "$release_with_it"
has_wanted || give_up "there is no Swift $wanted or later for it."
download python3-swift

for package in "$folder"/debs/*.deb; do dpkg -x "$package" "$folder/root"; done
