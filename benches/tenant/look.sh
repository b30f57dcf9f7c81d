#!/usr/bin/env bash
# How long people wait who look into a repository: the real binary, a process a look, the local cache warm.
#
#   TV_REPO=/tmp/mailbox target/release/examples/tv-tenant idle
#   TV_REPO=/tmp/mailbox benches/tenant/look.sh [ROUNDS]
#
# Prints for every command the middle of its rounds: seconds on the clock (fastest and slowest in brackets) and of CPU,
# and what it gave.
set -euo pipefail
repo=${TV_REPO:?names the repository that tv-tenant left}
rounds=${1:-9}
binary=${TV_BINARY:-target/release/tenantvault}
export TENANTVAULT_REPOSITORY=$repo TENANTVAULT_PASSWORD_FILE=$repo.passphrase TENANTVAULT_CACHE_DIR=$repo.cache
TIMEFORMAT='%R %U %S'

look() {
  local label=$1 out times=()
  shift
  out=$("$binary" "$@" | wc -lc | awk '{print $1 " lines, " $2 " bytes"}') # also warms the cache
  for ((n = 0; n < rounds; n++)); do
    times+=("$({ time "$binary" "$@" > /dev/null; } 2>&1)")
  done
  printf '%s\n' "${times[@]}" | sort -n | awk -v label="$label" -v out="$out" '
    { wall[NR] = $1; cpu[NR] = $2 + $3 }
    END {
      middle = int((NR + 1) / 2)
      printf "%-26s %.3f s (%.3f to %.3f), CPU %.3f s: %s\n", label, wall[middle], wall[1], wall[NR], cpu[middle], out
    }'
}

# `ls` names a folder with a slash at its end.
mail=users/$("$binary" ls latest:users | sed -n '1s|/$||p')/Mail
full=0 middling=0
while IFS= read -r folder; do
  count=$("$binary" ls "latest:$mail/$folder" | wc -l)
  if ((count > full)); then full=$count fullest=$folder; fi
  if ((count > middling && count <= 8000)); then middling=$count some=$folder; fi
done < <("$binary" ls "latest:$mail" | sed -n 's|/$||p')
message=$("$binary" ls "latest:$mail/$fullest" | sed -n "$((full / 2))p")

look snapshots snapshots
look 'ls, the root' ls latest
look 'ls, the folders of Mail' ls "latest:$mail"
look 'ls, a full folder' ls "latest:$mail/$some"
look 'ls -l, a full folder' ls -l "latest:$mail/$some"
look 'ls, the fullest folder' ls "latest:$mail/$fullest"
look 'cat, a message of it' cat "latest:$mail/$fullest/$message"
