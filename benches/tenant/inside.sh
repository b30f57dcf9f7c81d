#!/usr/bin/env bash
# How fast a mount is: the real binary over a repository that tv-tenant left, beside an export of the same.
#
#   TV_REPO=/tmp/mailbox target/release/examples/tv-tenant idle 200000 1 1
#   TV_REPO=/tmp/mailbox benches/tenant/inside.sh
#
# Prints, of the fullest folder of mail, in a mount that was just made: when the first entries are there and when all are;
# `grep` over its first 10,000 messages, in the mount (the first time, for root from the disk, and again, out of the kernel's
# cache) and in their export (out of the page cache and, for root, from the disk); and `cat` of the largest file. Needs FUSE, Python, and twice
# the messages' room in $TMPDIR.
set -euo pipefail
repo=${TV_REPO:?names the repository that tv-tenant left}
binary=${TV_BINARY:-target/release/tenantvault}
export TENANTVAULT_REPOSITORY=$repo TENANTVAULT_PASSWORD_FILE=$repo.passphrase TENANTVAULT_CACHE_DIR=$repo.cache
work=$(mktemp -d)
mkdir "$work/mount"
server=

up() {
  rm -f "$work/said"
  "$binary" mount "$work/mount" --json >"$work/said" &
  server=$!
  until [ -s "$work/said" ]; do sleep 0.02; done
}
down() {
  [ -z "$server" ] || kill -INT "$server" && wait "$server" || true
  server=
}
trap 'down; rm -rf "$work"' EXIT

up
latest=$(echo "$work"/mount/sets/*/latest)
# Counted without asking for anything of the files.
folder=$(python3 - "$latest" <<'PYTHON'
import os, sys
folders = (f for user in os.scandir(sys.argv[1] + "/users") if os.path.isdir(user.path + "/Mail") for f in os.scandir(user.path + "/Mail") if f.is_dir())
print(max((sum(1 for _ in os.scandir(f.path)), f.path) for f in folders)[1])
PYTHON
)
down

up
python3 - "$folder" <<'PYTHON'
import os, sys, time
begin = time.monotonic()
with os.scandir(sys.argv[1]) as entries:
    next(entries)
    first = time.monotonic() - begin
    count = 1 + sum(1 for _ in entries)
    print(f"listing {count} messages: the first after {first * 1000:.0f} ms, all after {time.monotonic() - begin:.2f} s")
PYTHON
awk '/VmHWM/ { printf "peak memory %d MiB\n", $2 / 1024 }' "/proc/$server/status"
down

up
mkdir "$work/export"
python3 - "$folder" >"$work/names" <<'PYTHON'
import itertools, os, sys
with os.scandir(sys.argv[1]) as entries:
    for entry in itertools.islice(entries, 10000):
        print(entry.name)
PYTHON
TIMEFORMAT='%R'
# Puts what is read next out of the page cache, if we may.
forget() { sync && { echo 3 >/proc/sys/vm/drop_caches; } 2>/dev/null; }
in_folder() { (cd "$1" && tr '\n' '\0' <"$work/names" | xargs -0 grep -lF 'no such words' -- || true) >/dev/null; }
down
up
forget || true
once=$({ time in_folder "$folder"; } 2>&1)
again=$({ time in_folder "$folder"; } 2>&1)
(cd "$folder" && tr '\n' '\0' <"$work/names" | xargs -0 cp -t "$work/export" --)
exported=$({ time in_folder "$work/export"; } 2>&1)
# What reading the export for the first time costs.
cold=
if forget; then
  cold=", $({ time in_folder "$work/export"; } 2>&1) s from the disk"
fi
bytes=$(du -sb "$work/export" | cut -f1)
printf 'grep over %d messages, %d MB: %s s in the mount, %s s again; %s s in an export%s\n' \
  "$(wc -l <"$work/names")" $((bytes / 1000000)) "$once" "$again" "$exported" "$cold"
awk '/VmHWM/ { printf "peak memory %d MiB\n", $2 / 1024 }' "/proc/$server/status"
down

up
file=$(find "$latest" -type f -size +8M -printf '%s\t%p\n' | sort -rn | head -1 | cut -f2-)
if [ -n "$file" ]; then
  down
  up
  size=$(stat -c %s "$file")
  seconds=$({ time cat "$file" >/dev/null; } 2>&1)
  awk -v s="$seconds" -v b="$size" 'BEGIN { printf "cat of a file of %d MB: %.2f s, %.0f MB/s\n", b / 1e6, s, b / 1e6 / s }'
fi
