#!/usr/bin/env python3
"""Makes docs/scale-*.svg of the lines that tv-scale prints, and prints the figures as tables.

    benches/scale/plot.py docs RESULTS...

Plain SVG written by hand: small, without fonts or scripts, readable on white and on black. Both axes are logarithmic.
Of several lines of one curve and number the last counts. Needs nothing but Python.
"""

import json
import math
import pathlib
import sys

WIDTH, HEIGHT = 420, 350
LEFT, RIGHT, TOP, BOTTOM = 62, 24, 92, 44
COLOURS = ["#2f7ed8", "#d9822b", "#2aa876", "#a45bd0"]
GREY = "#808890"
# As in blobs.rs.
LOOK_UPS = 1_000_000

# File, title, axis, [(panel title, unit, target or None, [(label, curve, key)])]
PLOTS = [
    ("items", "records in a collection", [
        ("Ten edits", "seconds", 0.05, [("the trees", "items", "edit_s"), ("durable", "items", "edit_durable_s")]),
        ("Bytes written by ten edits", "bytes", 1 << 20, [("packs and index", "items", "edit_written_bytes")]),
        ("Peak memory", "MiB", None, [("edit", "items", "edit_peak_mib"), ("walk", "items", "walk_peak_mib"),
                                      ("build", "items", "build_peak_mib")]),
        ("A record", "microseconds", None, [("build", "items", "build_us_a_record"),
                                            ("walk", "items", "walk_us_a_record"), ("look up", "items", "look_get_us")]),
    ]),
    ("blobs", "blobs in a repository", [
        ("Opening", "seconds", 1, [("warm", "blobs", "warm_s"), ("cold: the cache is made", "blobs", "cold_s")]),
        ("Peak memory", "MiB", None, [("open, warm", "blobs", "look_open_mib"), ("look-ups", "blobs", "look_peak_mib"),
                                      ("open, cold", "blobs", "cold_peak_mib")]),
        ("Look-ups", "a second of CPU", 500_000,
         [("blob", "blobs", "look_blob_a_cpu_s"), ("absent blob", "blobs", "look_absent_a_cpu_s"),
          ("chunk and its segment", "blobs", "look_chunk_a_cpu_s"),
          ("absent chunk", "blobs", "look_absent_chunk_a_cpu_s")]),
        ("On disk", "bytes", None, [("index files", "blobs", "make_index_bytes"), ("cache", "blobs", "warm_cache_bytes")]),
    ]),
    ("snapshots", "snapshots in a repository", [
        ("Time", "seconds", None, [("open", "snapshots", "open_s"), ("snapshots", "snapshots", "list_s"),
                                   ("forget: plan", "snapshots", "forget_s"), ("prune: plan", "snapshots", "prune_s")]),
        ("Peak memory", "MiB", None, [("open", "snapshots", "open_peak_mib"), ("snapshots", "snapshots", "list_peak_mib"),
                                      ("prune: plan", "snapshots", "prune_peak_mib")]),
    ]),
    ("writers", "writers at once", [
        ("Stored", "MB a second of CPU", None, [("one process", "writers", "all_mb_a_cpu_s"),
                                                ("a process each", "writers", "processes_mb_a_cpu_s")]),
        ("Stored", "MB a second", None, [("one process", "writers", "all_mb_a_second"),
                                         ("a process each", "writers", "processes_mb_a_second")]),
        ("Peak memory", "MiB", None, [("one process", "writers", "all_peak_mib"),
                                      ("each process", "writers", "processes_peak_mib")]),
    ]),
    ("stream", "GiB in one stream", [
        ("Peak memory", "MiB", None, [("peak", "stream", "put_peak_mib")]),
        ("Taken in", "MB a second", None, [("sparse, one MiB in eight holds bytes", "stream", "put_mb_a_second")]),
    ]),
]


def short(value):
    """A number of an axis."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def ticks(low, high):
    """Round numbers between two: powers of ten, and 2 and 5 of them where these are few."""
    powers = [10.0**e for e in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)]
    found = [p for p in powers if low <= p <= high]
    if len(found) < 3:
        found = [p * m for p in powers for m in (1, 2, 5) if low <= p * m <= high]
    if len(found) > 7:
        found = found[:: math.ceil(len(found) / 7)]
    return found


def panel(out, at, title, axis, unit, target, lines):
    """Draws one panel; `lines` are (label, points)."""
    x0, y0 = at
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points] + ([target] if target else [])
    low_x, high_x = min(xs), max(xs)
    if low_x == high_x:
        low_x, high_x = low_x / 2, high_x * 2
    low_y, high_y = min(ys) / 1.5, max(ys) * 1.5
    if high_y / low_y < 10:
        middle = math.sqrt(low_y * high_y)
        low_y, high_y = middle / 3.2, middle * 3.2

    def place_x(x):
        return x0 + LEFT + (math.log(x / low_x) / math.log(high_x / low_x)) * (WIDTH - LEFT - RIGHT)

    def place_y(y):
        return y0 + HEIGHT - BOTTOM - (math.log(y / low_y) / math.log(high_y / low_y)) * (HEIGHT - TOP - BOTTOM)

    left, right, bottom = x0 + LEFT, x0 + WIDTH - RIGHT, y0 + HEIGHT - BOTTOM
    out.append(f'<text x="{left}" y="{y0 + 18}" class="t">{title}, {unit}</text>')
    for y in ticks(low_y, high_y):
        out.append(f'<path d="M{left} {place_y(y):.1f}H{right}" class="g"/>')
        out.append(f'<text x="{left - 6}" y="{place_y(y) + 4:.1f}" class="e">{short(y)}</text>')
    for x in sorted(set(xs)):
        out.append(f'<text x="{place_x(x):.1f}" y="{bottom + 16}" class="m">{short(x)}</text>')
    out.append(f'<text x="{(left + right) / 2}" y="{bottom + 33}" class="m">{axis}</text>')
    if target:
        out.append(f'<path d="M{left} {place_y(target):.1f}H{right}" class="d"/>')
        out.append(f'<text x="{right}" y="{place_y(target) - 5:.1f}" class="e">target</text>')
    taken = []
    for (label, points), colour in zip(lines, COLOURS):
        way = "L".join(f"{place_x(x):.1f} {place_y(y):.1f}" for x, y in points)
        out.append(f'<path d="M{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.extend(f'<circle cx="{place_x(x):.1f}" cy="{place_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in points)
        taken.append((label, colour))
    for n, (label, colour) in enumerate(taken):
        y = y0 + 34 + 15 * n
        out.append(f'<path d="M{left} {y - 4}h14" stroke="{colour}" stroke-width="3"/>')
        out.append(f'<text x="{left + 20}" y="{y}">{label}</text>')


def draw(axis, panels, results):
    """The SVG of one file; nothing if nothing was measured."""
    drawn = []
    for title, unit, target, lines in panels:
        found = []
        for label, curve, key in lines:
            points = [(n, p[key]) for (c, n), p in sorted(results.items()) if c == curve and p.get(key)]
            if points:
                found.append((label, points))
        if found:
            drawn.append((title, unit, target, found))
    if not drawn:
        return None
    rows = (len(drawn) + 1) // 2
    width, height = WIDTH * min(2, len(drawn)), HEIGHT * rows
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f"<style>text{{font:12px sans-serif;fill:{GREY}}}.t{{font-weight:bold}}.e{{text-anchor:end}}.m{{text-anchor:middle}}"
        f".g{{stroke:{GREY};stroke-opacity:.25}}.d{{stroke:#d04040;stroke-dasharray:5 4}}</style>",
    ]
    for n, (title, unit, target, lines) in enumerate(drawn):
        panel(out, (WIDTH * (n % 2), HEIGHT * (n // 2)), title, axis, unit, target, lines)
    return "\n".join([*out, "</svg>", ""])


def figure(value, unit):
    """A figure of a table."""
    if value is None:
        return ""
    if unit == "bytes":
        for size, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
            if value >= size:
                return f"{value / size:.3g} {name}"
    if unit == "seconds" and value < 1:
        return f"{value * 1e3:.3g} ms" if value >= 1e-3 else f"{value * 1e6:.0f} us"
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return text + (" s" if unit == "seconds" else "")


def table(name, axis, panels, results):
    """The figures of one file as a table."""
    columns = [(f"{title}: {label}, {unit}" if unit not in ("seconds", "bytes") else f"{title}: {label}", unit, curve, key)
               for title, unit, _, lines in panels for label, curve, key in lines]
    points = [(n, p) for (c, n), p in sorted(results.items()) if c == name]
    if not points:
        return
    print(f"\n| {axis} | " + " | ".join(f"{n:,}" for n, _ in points) + " |\n|---" + "|---" * len(points) + "|")
    for title, unit, _, key in columns:
        print(f"| {title} | " + " | ".join(figure(p.get(key), unit) for _, p in points) + " |")
    print("| Load of the machine at the start | " + " | ".join(f"{p['load']:.1f}" for _, p in points) + " |")


def derive(point):
    """What is done in a second of CPU time: other work on the machine has less part in it."""
    for sort in ("blob", "absent", "chunk", "absent_chunk"):
        if point.get(f"look_{sort}_cpu_s"):
            point[f"look_{sort}_a_cpu_s"] = LOOK_UPS / point[f"look_{sort}_cpu_s"]
    for which in ("all", "processes"):
        if point.get(f"{which}_cpu_s"):
            point[f"{which}_mb_a_cpu_s"] = point["all_bytes"] / point[f"{which}_cpu_s"] / 1e6
    return point


def main():
    """Reads the results, writes the plots, prints the tables."""
    folder, results = pathlib.Path(sys.argv[1]), {}
    for name in sys.argv[2:]:
        for line in pathlib.Path(name).read_text().splitlines():
            if line.startswith("{"):
                point = json.loads(line)
                results[(point["curve"], point["n"])] = derive(point)
    for name, axis, panels in PLOTS:
        svg = draw(axis, panels, results)
        if svg:
            (folder / f"scale-{name}.svg").write_text(svg)
        table(name, axis, panels, results)


main()
