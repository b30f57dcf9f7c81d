#!/usr/bin/env python3
"""Runs Tenantvault's pipeline and other backup engines over the same folder, interleaved, and prints a table.

  cargo build --release --example tv-bench
  benches/peers/compare.py DIR [--mail] [--rounds 3] [--tools tenantvault,restic,rustic,borg,bupstash]
                           [--phases first,again,restore,check,changed,prune] [--json FILE] [--work FOLDER]

Engines that are not in PATH are left out. A round is: a new repository, a first backup, a second one with nothing changed,
a restore (every file's size and one in fifty files' SHA-256 are compared with the source), a check of all data, a backup
after 1 % has changed, and the first two snapshots forgotten and pruned. What has changed: one file in a hundred has another
line in its middle (of messages: is another message); of a single large file, one MiB in a hundred is other bytes. DIR
gives its name to a copy of hard links, DIR.changed, for the time of that phase.

Nothing is deleted before the end: ext4 takes seconds of CPU to make files where many were deleted a minute ago. For each
phase: wall seconds, CPU seconds (user + system, of the whole process tree), peak memory of its largest process, and what the
repository holds afterwards. `--mail` feeds the files to Tenantvault as messages, so that taking MIME apart counts.
"""
import argparse, hashlib, json, os, shutil, statistics, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
TV = os.environ.get("TV_BENCH") or os.path.join(HERE, "..", "..", "target", "release", "examples", "tv-bench")

TOOLS = {
    "tenantvault": dict(
        found=lambda: os.path.exists(TV), env={"TV_CACHE": "{work}/cache"}, init="{tv} init {repo}",
        backup="{tv} backup {repo} {src} {mail}", restore="{tv} restore {repo} {dst}", check="{tv} check {repo}",
        prune="{tv} forget {repo}"),
    "restic": dict(
        env={"RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": "{repo}", "RESTIC_CACHE_DIR": "{work}/cache"}, init="restic -q init",
        backup="restic -q backup .", restore="restic -q restore latest --target {dst}", check="restic -q check --read-data",
        prune="restic -q forget --keep-last 1 --prune"),
    "rustic": dict(
        env={"RUSTIC_PASSWORD": "x", "RUSTIC_REPOSITORY": "{repo}", "RUSTIC_CACHE_DIR": "{work}/cache", "RUSTIC_NO_PROGRESS": "true",
             "RUSTIC_LOG_LEVEL": "error"},
        init="rustic init", backup="rustic backup .", restore="rustic restore latest {dst}", check="rustic check --read-data",
        prune="rustic forget --keep-last 1 --prune --instant-delete"),
    "borg": dict(
        env={"BORG_PASSPHRASE": "x", "BORG_REPO": "{repo}", "BORG_BASE_DIR": "{work}/cache", "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"},
        init="borg init -e repokey-blake2", backup="borg create -C zstd,3 ::a-{n} .", restore="cd {dst} && borg extract ::a-{n}",
        check="borg check --verify-data", prune="borg delete :: a-1 a-2 && borg compact"),
    "bupstash": dict(
        env={"BUPSTASH_REPOSITORY": "{repo}", "BUPSTASH_KEY": "{work}/key", "BUPSTASH_SEND_LOG": "{work}/cache/send.log",
             "BUPSTASH_QUERY_CACHE": "{work}/cache/q", "XDG_CACHE_HOME": "{work}/cache"},
        init="bupstash init && bupstash new-key -o {work}/key", backup="bupstash put -q name=d n={n} .",
        restore="bupstash restore -q --into {dst} name=d and n={n}",
        prune="bupstash rm -q --allow-many n=1 or n=2 && bupstash gc -q"),
}


def busy():
    fields = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / os.sysconf("SC_CLK_TCK")


def size_of(folder):
    total = files = 0
    for path, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(path, name)).st_size
            files += 1
    return total, files


def measured(command, env, cwd):
    before, start = busy(), time.monotonic()
    child = subprocess.Popen(["bash", "-c", command], env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT)
    out = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall, cpu = time.monotonic() - start, usage.ru_utime + usage.ru_stime
    if status:
        sys.exit(f"{command}\nended with {os.waitstatus_to_exitcode(status)}: {out[-2000:].decode(errors='replace')}")
    return dict(wall_s=round(wall, 2), cpu_s=round(cpu, 2), peak_mib=round(usage.ru_maxrss / 1024, 1),
                foreign_cpu_s=round(busy() - before - cpu, 2))


def differences(source, restored):
    wrong = total = 0
    root = restored
    names = set(os.listdir(source))
    for path, folders, files in os.walk(restored):
        if names <= set(folders) | set(files):
            root = path
            break
    for path, _, files in os.walk(source):
        for name in files:
            a = os.path.join(path, name)
            if os.path.islink(a):
                continue
            total += 1
            b = os.path.join(root, os.path.relpath(a, source))
            if not os.path.exists(b) or os.path.getsize(a) != os.path.getsize(b):
                wrong += 1
            elif hashlib.sha256(a.encode()).digest()[0] < 5:
                digests = [hashlib.file_digest(open(p, "rb"), "sha256").digest() for p in (a, b)]
                wrong += digests[0] != digests[1]
    return wrong, total


def change(source, mail):
    """Makes DIR.changed: hard links to what is in DIR, and other contents in one file in a hundred."""
    changed = source + ".changed"
    subprocess.run(["cp", "-al", source, changed], check=True)
    files = sorted(os.path.join(path, name) for path, _, names in os.walk(changed) for name in names)
    files = [f for f in files if not os.path.islink(f)]
    for number, path in enumerate(files):
        dice = hashlib.sha256(os.path.relpath(path, changed).encode(errors="surrogateescape")).digest()
        if len(files) > 1 and int.from_bytes(dice[:2]) * 100 >= 1 << 16:
            continue
        if len(files) == 1:
            # Not read whole: the peak memory of this process would be taken for that of those it starts.
            subprocess.run(["cp", "--remove-destination", os.path.join(source, os.path.relpath(path, changed)), path], check=True)
            with open(path, "r+b") as file:
                for at in range(0, os.path.getsize(path), 100 << 20):
                    file.seek(at)
                    file.write(hashlib.shake_256(b"%d" % at).digest(1 << 20))
            continue
        with open(path, "rb") as file:
            data = bytearray(file.read())
        os.unlink(path)
        middle = len(data) // 2 + 1
        data[middle:middle] = b"\r\nchanged %d\r\n" % number
        with open(path + ".new" if mail else path, "wb") as file:
            file.write(data)
    subprocess.run(["sync"])


def swapped(source):
    os.rename(source, source + ".as-it-was")
    os.rename(source + ".changed", source)


def swapped_back(source):
    os.rename(source, source + ".changed")
    os.rename(source + ".as-it-was", source)


def one_round(name, number, source, args):
    tool = TOOLS[name]
    work = os.path.join(os.path.abspath(args.work), f"{name}-{number}")
    os.makedirs(os.path.join(work, "cache"))
    fill = dict(work=work, repo=os.path.join(work, "repo"), dst=os.path.join(work, "out"), src=source, n=1, tv=os.path.abspath(TV),
                mail="--mail" if args.mail else "")
    os.makedirs(fill["dst"])
    results = {}
    for phase in ["init"] + args.phases.split(","):
        key = {"first": "backup", "again": "backup", "changed": "backup"}.get(phase, phase)
        if key not in tool:
            continue
        fill["n"] = {"first": 1, "again": 2, "changed": 3}.get(phase, fill["n"])
        env = dict(os.environ, **{k: v.format(**fill) for k, v in tool.get("env", {}).items()})
        subprocess.run(["sync"])
        if phase == "changed":
            swapped(source)
        try:
            result = measured(tool[key].format(**fill), env, source)
        finally:
            if phase == "changed":
                swapped_back(source)
        result["repo_bytes"], result["repo_files"] = size_of(fill["repo"])
        if phase == "restore":
            wrong, total = differences(source, fill["dst"])
            result["wrong"] = wrong
            if wrong:
                sys.exit(f"{name}: {wrong} of {total} restored files differ")
        results[phase] = result
        print(f"{name:12} {phase:8} {json.dumps(result)}", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--mail", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--phases", default="first,again,restore,check,changed,prune")
    parser.add_argument("--json")
    parser.add_argument("--work", default="bench-work")
    args = parser.parse_args()
    source = os.path.realpath(args.dir)
    if os.path.exists(args.work):
        sys.exit(f"{args.work} is there already: name another folder with --work")
    names = [n for n in args.tools.split(",") if TOOLS[n].get("found", lambda n=n: shutil.which(n))()]
    rounds = {n: [] for n in names}
    if "changed" in args.phases:
        change(source, args.mail)
    # Whoever comes first is not to pay for reading from the disk.
    subprocess.run("find . -type f -print0 | xargs -0 cat > /dev/null", shell=True, cwd=source, check=True)
    for r in range(args.rounds):
        for name in names[r % len(names):] + names[:r % len(names)]:
            rounds[name].append(one_round(name, r, source, args))
    shutil.rmtree(args.work, ignore_errors=True)
    shutil.rmtree(source + ".changed", ignore_errors=True)
    if args.json:
        json.dump(dict(source=os.path.basename(source), mail=args.mail, rounds=rounds), open(args.json, "w"), indent=1)
    print("\n| tool | phase | wall s | CPU s | peak MiB | repository MB | files | foreign CPU s |\n|---|---|---|---|---|---|---|---|")
    for name in names:
        for phase in rounds[name][0]:
            median = lambda field: statistics.median(r[phase][field] for r in rounds[name])
            if phase != "init":
                print(f"| {name} | {phase} | {median('wall_s'):.1f} | {median('cpu_s'):.1f} | {median('peak_mib'):.0f} "
                      f"| {median('repo_bytes') / 1e6:.1f} | {median('repo_files'):.0f} | {median('foreign_cpu_s'):.1f} |")


main()
