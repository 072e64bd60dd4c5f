#!/bin/sh
# Unpacks programs from Debian's packages into one folder: nothing is installed, no server of this machine is replaced or
# started, and apt's own state is only read. Needs no root.
#
#   debian-packages.sh mail [FOLDER]     Dovecot (IMAP, LMTP, submission) and OpenSMTPD, for the demo and the tests.
#                                        FOLDER: $DIWAN_MAIL_PACKAGES, else <workspace>/.diwan/mail/packages
#   debian-packages.sh bench [FOLDER]    HAProxy and h2load, for the benchmarks. FOLDER: <workspace>/.diwan/bench/packages
#
# Only what the programs link against is unpacked beside them: what else their packages depend on (adduser, debconf, perl,
# ...) serves installing. A second run finds the stamp in FOLDER and ends at once; runs at the same time wait for each other.
set -eu

set=${1:-}
say() { printf 'debian-packages %s: %s\n' "$set" "$*" >&2; }
fail() { say "$*"; exit 1; }

workspace=$(cd "$(dirname "$0")/../.." && pwd)
format=1 # goes into the stamp: raise it when what is unpacked changes, so that older folders are made anew
case $set in
    mail)
        why="the demo and the tests need a real IMAP and a real SMTP server: Dovecot and OpenSMTPD with their libraries"
        servers="dovecot-core dovecot-imapd dovecot-lmtpd dovecot-submissiond opensmtpd"
        programs="usr/sbin/dovecot usr/sbin/smtpd usr/lib/dovecot/imap usr/lib/dovecot/lmtp usr/lib/dovecot/submission bin/sh"
        packages=${DIWAN_MAIL_PACKAGES:-$workspace/.diwan/mail/packages} ;;
    bench)
        why="the benchmarks load Diwan with h2load and compare its gateway with HAProxy: both with their libraries"
        servers="haproxy nghttp2-client"
        programs="usr/sbin/haproxy usr/bin/h2load bin/sh"
        packages=$workspace/.diwan/bench/packages ;;
    *) fail "names a set of packages: mail or bench" ;;
esac
packages=${2:-$packages}
. /etc/os-release 2>/dev/null || ID=unknown
stamp="$format ${ID:-unknown} ${VERSION_ID:-unknown}"

unpacked() { [ "$(head -n 1 "$packages/.unpacked" 2>/dev/null)" = "$stamp" ]; }
unpacked && exit 0
if [ -e "$packages" ] && [ ! -e "$packages/.unpacked" ] && [ -n "$(ls -A "$packages")" ]; then
    fail "$packages holds something else: name an empty or a new folder"
fi
for tool in apt-get apt-cache dpkg dpkg-deb awk flock; do
    command -v "$tool" >/dev/null || fail "needs $tool: only Debian and its derivatives are supported"
done
mkdir -p "$(dirname "$packages")"
exec 9>"$packages.lock"
flock 9
unpacked && exit 0

work="$packages.new"
rm -rf "$work"
mkdir -p "$work/root" "$work/debs" "$work/lists/partial" "$work/cache/archives/partial"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

apt_lists="" # the machine's own, until they prove missing or outdated
apt_with() { # COMMAND ARGUMENTS...
    command=$1
    shift
    # shellcheck disable=SC2086  # apt_lists is a list of options without blanks inside
    "$command" -o "Dir::Cache=$work/cache" -o Debug::NoLocking=true -o APT::Sandbox::User= $apt_lists "$@"
}

refresh_lists() {
    say "$1: fetching fresh ones for this run only (apt-get update into a private folder)"
    apt_lists="-o Dir::State::lists=$work/lists"
    apt_with apt-get -qq update >&2 || fail "apt-get update failed (see above); is there a network?"
}

# The servers, a shell (OpenSMTPD runs its delivery agents by one), and every library package reachable from them.
closure() {
    # shellcheck disable=SC2086
    apt_with apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
        --no-enhances $servers dash | awk -v start="$servers dash" '
        /^[a-z0-9]/ { package = $1 }
        /^ .*Depends: (lib|zlib|dovecot-)/ && $2 !~ /^libpam-/ { needs[package] = needs[package] " " $2 }
        END {
            count = split(start, queue, " ")
            for (i = 1; i <= count; i++) {
                if (queue[i] in seen) continue
                seen[queue[i]] = 1
                print queue[i]
                n = split(needs[queue[i]], next_ones, " ")
                for (j = 1; j <= n; j++) queue[++count] = next_ones[j]
            }
        }'
}

fetch() { (cd "$work/debs" && rm -f ./*.deb && apt_with apt-get -q download $wanted) >&2; }

known() { # shellcheck disable=SC2086
    apt_with apt-cache show --no-all-versions $servers >/dev/null 2>&1
}

known || refresh_lists "this machine has no package lists"
known || fail "still no packages $servers (see above): is there a network, and Debian main among apt's sources?"
wanted=$(closure)
size=$(apt_with apt-cache show --no-all-versions $wanted | awk '/^Size: / { n += $2 } END { printf "%.0f", n / 1e6 }')
say "$why"
say "fetching $(echo "$wanted" | wc -w) Debian packages ($size MB) to unpack, not install, in $packages:"
echo "$wanted" | fmt -w 100 | sed 's/^/    /' >&2
if ! fetch; then
    refresh_lists "the package lists of this machine are outdated"
    wanted=$(closure)
    fetch || fail "fetching the packages failed (see above)"
fi

say "unpacking"
# Packages of either age (files in /lib or in /usr/lib) must land in one place, as on a machine with merged /usr.
mkdir -p "$work/root/usr"
for dir in bin sbin lib lib64; do
    mkdir -p "$work/root/usr/$dir"
    ln -s "usr/$dir" "$work/root/$dir"
done
for deb in "$work"/debs/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/root" --keep-directory-symlink --no-same-owner \
        --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/locale/*' \
        --exclude='./etc/*' --exclude='./var/*'
done

# The loader itself says what is missing, before a server would in the middle of a test.
loader=$(find "$work/root/usr" -name 'ld-linux*.so.*' | head -n 1)
libraries=$(find "$work/root/usr/lib" -maxdepth 2 -type d | tr '\n' ':')
for program in $programs; do
    [ -e "$work/root/$program" ] || fail "the packages hold no $program"
    missing=$("$loader" --library-path "$libraries" --list "$work/root/$program" | grep 'not found' || true)
    [ -z "$missing" ] || fail "$program lacks libraries: $missing"
done

{
    echo "$stamp"
    for deb in "$work"/debs/*.deb; do dpkg-deb --show "$deb"; done
} >"$work/root/.unpacked"
rm -rf "$packages"
mv "$work/root" "$packages"
say "unpacked $servers"
