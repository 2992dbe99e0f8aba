"""dashboard-svg.py DASHBOARD: draws a dashboard's layout as SVG: a box for each panel at Grafana's position, with its
title, its type and the names of its queries. Collapsed rows are drawn open. Grafana's own rendering looks different.

    python3 tests/scripts/dashboard-svg.py contrib/grafana-dashboard.json > layout.svg

Exits 1 if a title or a table's columns do not fit into their box.
"""

import json
import re
import sys
from xml.sax.saxutils import escape

# Grafana's grid: 24 columns in a window 1,272 pixels wide. A line has 30 pixels, with a gap of 8 pixels to the next.
COLUMN_PX, LINE_PX, GAP_PX = 53, 38, 8
WIDTH_PX = 24 * COLUMN_PX
# The width of a letter in Grafana's font: in a title at 14 pixels, in a table at 12; and the margins of a table's cell.
TITLE_LETTER_PX, CELL_LETTER_PX, CELL_MARGIN_PX = 7.2, 6.6, 14
# Values of the variables, with a typical length.
VARIABLES = {"$top": "10", "$detail": "iperf.example.net"}
COLORS = {"table": "#e8f0fe", "stat": "#e6f4ea", "gauge": "#e6f4ea", "state-timeline": "#fef7e0"}


def main():
    with open(sys.argv[1], encoding="utf-8") as text:
        dashboard = json.load(text)
    boxes, problems, offset = [], [], 0
    for panel in dashboard["panels"]:
        boxes += box(panel, offset, problems)
        if panel["type"] == "row" and panel["panels"]:
            for inner in panel["panels"]:
                boxes += box(inner, offset, problems)
            offset += max(bottom(inner) for inner in panel["panels"]) - bottom(panel)
    height = (max(bottom(panel) for panel in dashboard["panels"]) + offset) * LINE_PX + 60
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH_PX}" height="{height}" font-family="sans-serif">')
    print(f'<rect width="{WIDTH_PX}" height="{height}" fill="#f4f5f5"/>')
    choices = [f"{one.get('label') or one['name']} ▾" for one in dashboard["templating"]["list"] if one["hide"] == 0]
    print(write(8, 32, 16, f"{dashboard['title']}    {'    '.join(choices)}"))
    print("\n".join(boxes))
    print("</svg>")
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))


def bottom(panel):
    return panel["gridPos"]["y"] + panel["gridPos"]["h"]


def box(panel, offset, problems):
    """The panel's box, title and contents; parts that do not fit are added to the problems."""
    place = panel["gridPos"]
    x, y = place["x"] * COLUMN_PX, (place["y"] + offset) * LINE_PX + 48
    width, height = place["w"] * COLUMN_PX - GAP_PX, place["h"] * LINE_PX - GAP_PX
    title = re.sub(r"\$\w+", lambda name: VARIABLES.get(name[0], name[0]), panel["title"])
    if len(title) * TITLE_LETTER_PX + 16 > width:
        problems.append(f"the title does not fit: {title}")
    if panel["type"] == "row":
        return [write(x + 8, y + 22, 16, f"▾ {title}")]
    color = COLORS.get(panel["type"], "#ffffff")
    lines = [f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{color}" stroke="#9aa0a6"/>']
    lines.append(write(x + 8, y + 18, 14, title))
    names = columns(panel) if panel["type"] == "table" else legends(panel)
    if panel["type"] == "table":
        needed = sum(max(len(name), 8) * CELL_LETTER_PX + CELL_MARGIN_PX for name in names)
        if needed > width:
            problems.append(f"{title}: {len(names)} columns need {needed:.0f} of {width} pixels")
        names = [" | ".join(names)]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    names = [f"{panel['type']}, {unit}", *names]
    room = max((height - 30) // 16, 1)
    lines += [write(x + 8, y + 36 + 16 * index, 12, name) for index, name in enumerate(names[:room])]
    return lines


def legends(panel):
    return [target["legendFormat"] for target in panel["targets"]]


def columns(panel):
    """A table's columns in their order: the columns that its transformations name and do not hide."""
    options = panel["transformations"][-1]["options"]
    order, hidden = options["indexByName"], options["excludeByName"]
    names = options["renameByName"]
    shown = [name for name in names if name not in hidden]
    return [names[name] for name in sorted(shown, key=lambda name: order.get(name, len(order)))]


def write(x, y, size, text):
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="#202124">{escape(text)}</text>'


main()
