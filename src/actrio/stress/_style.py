"""The style sheet of the report, for light and dark, screen and paper."""

from __future__ import annotations

from typing import Final

__all__ = ["STYLE"]

STYLE: Final = """
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1b1f24; --soft: #667080; --line: #e4e6ea;
  --edge: #e4e6ea; --good: #1a7f4b; --bad: #c62f2f; --warn: #a96800;
  --c1: #9cc3f7; --c2: #2f74d8; --c3: #143f85;
  --c4: #0f9b8e; --c5: #8e5bd6; --c6: #c9352f; --c7: #e0930c; --c8: #98a2b0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #111418; --card: #191d23; --ink: #e8ebef; --soft: #97a1af; --line: #2a3038;
    --edge: #272d35; --good: #4cc38a; --bad: #ff6f66; --warn: #f0b34a;
    --c1: #3f6eb0; --c2: #6aa5f5; --c3: #c6defe;
    --c4: #35c2b3; --c5: #b18cf0; --c6: #f2635b; --c7: #edab3c; --c8: #717c8b;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 56px; }
header { display: flex; flex-wrap: wrap; gap: 8px 24px; align-items: flex-start;
  justify-content: space-between; margin-bottom: 24px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 36px 0 12px; }
h3 { font-size: 14px; margin: 0; font-weight: 600; }
header p, figcaption p, .fine { color: var(--soft); margin: 0; font-size: 13px; }
.badge { border-radius: 999px; padding: 6px 14px; font-weight: 600; font-size: 14px;
  border: 1.5px solid currentColor; white-space: nowrap; }
.badge.good { color: var(--good); } .badge.bad { color: var(--bad); } .badge.warn { color: var(--warn); }
.note { border-left: 3px solid var(--warn); padding: 8px 14px; background: var(--card);
  margin: 0 0 10px; font-size: 14px; overflow-wrap: anywhere; }
.note.bad { border-color: var(--bad); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(46%, 230px), 1fr)); gap: 12px; }
.tile { background: var(--card); border: 1px solid var(--edge); border-radius: 10px; padding: 14px 16px; }
.tile span { color: var(--soft); font-size: 12.5px; display: block; }
.tile b { font-size: 25px; font-weight: 650; letter-spacing: -0.02em; display: block; line-height: 1.3; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 14px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--edge); border-radius: 10px;
  padding: 14px 16px 8px; min-width: 0; display: flex; flex-direction: column; }
figcaption { margin-bottom: 6px; }
figure svg { width: 100%; height: auto; display: block; margin-top: auto; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 12.5px; color: var(--soft); margin-bottom: 2px; }
.key { display: inline-flex; align-items: center; gap: 6px; }
.key i { width: 14px; height: 3px; border-radius: 2px; }
svg text { font-size: 11px; fill: var(--soft); }
svg text.y { text-anchor: end; } svg text.x, svg text.mark, svg text.none { text-anchor: middle; }
svg text.none { font-size: 13px; } svg text.mark { font-size: 10.5px; fill: var(--ink); }
.grid { stroke: var(--line); stroke-width: 1; } .band { stroke: var(--soft); stroke-dasharray: 2 4; opacity: .6; }
line.mark { stroke: var(--ink); stroke-width: 1; stroke-dasharray: 3 3; opacity: .55; }
.line { fill: none; stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.touch { fill: transparent; } .touch:hover { fill: var(--soft); opacity: .13; }
i.c1 { background: var(--c1); } i.c2 { background: var(--c2); } i.c3 { background: var(--c3); }
i.c4 { background: var(--c4); } i.c5 { background: var(--c5); } i.c6 { background: var(--c6); }
i.c7 { background: var(--c7); } i.c8 { background: var(--c8); }
.line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); } .line.c3 { stroke: var(--c3); }
.line.c4 { stroke: var(--c4); } .line.c5 { stroke: var(--c5); } .line.c6 { stroke: var(--c6); }
.line.c7 { stroke: var(--c7); } .line.c8 { stroke: var(--c8); }
.bar.c1, .dot.c1 { fill: var(--c1); } .bar.c2, .dot.c2 { fill: var(--c2); } .bar.c3, .dot.c3 { fill: var(--c3); }
.bar.c4, .dot.c4 { fill: var(--c4); } .bar.c5, .dot.c5 { fill: var(--c5); } .bar.c6, .dot.c6 { fill: var(--c6); }
.bar.c7, .dot.c7 { fill: var(--c7); } .bar.c8, .dot.c8 { fill: var(--c8); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--edge); border-radius: 10px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 14px; border-top: 1px solid var(--line); white-space: nowrap; }
thead th { border-top: 0; color: var(--soft); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
th.text { text-align: left; }
td.text { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 240px; }
.yes { color: var(--good); font-weight: 600; } .no { color: var(--bad); font-weight: 600; }
.plots + .scroll { margin-top: 14px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 14px; align-items: start; }
@media print { main { max-width: none; padding: 0; } figure, .tile, .scroll { break-inside: avoid; } }
"""
