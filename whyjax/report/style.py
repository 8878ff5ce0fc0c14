"""The page's style sheet: light or dark as the reader prefers, folded on narrow screens, light in
print."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1d1c1a; --faint: #67645e; --rule: #e2ded6; --band: #f7f5f1; --heat:
  #d55e00; --supported: #00694c; --contradicted: #a83200; --inconclusive: #7a5a00; --refused:
  #5d4a78; --link: #0072b2;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17181a; --ink: #e9e7e2; --faint: #a7a39b; --rule: #35373b; --band: #202225; --heat:
    #f0914a; --supported: #35c79f; --contradicted: #ff9a66; --inconclusive: #f0c64a; --refused:
    #c3abe6; --link: #56b4e9;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 17px/1.55 Charter, "Bitstream Charter", "Iowan Old Style", "Source Serif 4", Georgia, serif;
}
main { max-width: 74rem; margin: 0 auto; padding: 3.5rem 1.5rem 5rem; }
header { border-bottom: 1px solid var(--rule); padding-bottom: 1.6rem; }
.eyebrow, .meta, table, .chip, .tally, figcaption, .key, details, .pair h4, dl {
  font-family: ui-sans-serif, system-ui, "Helvetica Neue", "Segoe UI", Roboto, Arial, sans-serif;
}
.eyebrow { margin: 0; color: var(--faint); font-size: .8rem; letter-spacing: .04em; }
h1 { margin: .5rem 0 .7rem; font-size: 2.15rem; line-height: 1.18; font-weight: 600; text-wrap:
balance; } h2 { margin: 3.2rem 0 .6rem; font-size: 1.35rem; line-height: 1.3; font-weight: 600; }
h3 { margin: 1.8rem 0 .4rem; font-size: 1.02rem; font-weight: 600; }
p, li { max-width: 44rem; text-wrap: pretty; }
p { margin: .5rem 0 .9rem; }
.meta, .key, figcaption { color: var(--faint); font-size: .84rem; line-height: 1.5; }
.meta { margin: 0; }
.key { margin: .4rem 0 .8rem; }
.tally { display: flex; flex-wrap: wrap; gap: .5rem 1.8rem; list-style: none;
  margin: 1.6rem 0 0; padding: 0; }
.tally li { display: flex; align-items: baseline; gap: .5rem; font-size: .95rem; font-weight: 600; }
.tally b { font-size: 1.9rem; line-height: 1; font-weight: 600; font-variant-numeric: tabular-nums;
} .supported { --tone: var(--supported); } .contradicted { --tone: var(--contradicted); }
.inconclusive { --tone: var(--inconclusive); } .refused { --tone: var(--refused); }
.tally li { color: var(--tone); }
.chip {
  display: inline-block; padding: .14rem .55rem .18rem; border-radius: .3rem; white-space: nowrap;
  background: var(--tone); color: var(--paper); font-size: .82rem; font-weight: 600;
  print-color-adjust: exact; -webkit-print-color-adjust: exact;
}
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .84rem; line-height: 1.4; }
th { font-weight: 600; text-align: left; }
th, td { padding: .45rem .55rem; vertical-align: top; border-bottom: 1px solid var(--rule); }
thead th { color: var(--faint); font-weight: 500; vertical-align: bottom; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.verdicts td { padding-block: .8rem; }
.verdicts td:first-child, .verdicts th:first-child { padding-left: 0; width: 9.5rem; }
.verdicts [data-label] { white-space: nowrap; }
.verdicts .claim { font-size: .95rem; font-weight: 600; }
.verdicts small, .why { display: block; color: var(--faint); font-size: .8rem; }
.why { margin-block: .25rem; color: var(--ink); }
.verdicts .effect { width: 15.5rem; }
.effect output { display: block; font-variant-numeric: tabular-nums; white-space: nowrap; }
.effect svg { display: block; width: 100%; max-width: 15rem; height: 2.1rem; overflow: visible; }
svg .axis { stroke: var(--rule); }
svg .zero { stroke: var(--faint); }
svg .goal { fill: var(--tone); opacity: .12; }
svg .bar { stroke: var(--tone); stroke-width: 2.5; stroke-linecap: round; }
svg .mean { fill: var(--tone); } svg .replica { fill: var(--ink); opacity: .38; }
svg text { fill: var(--faint); font: 9px ui-sans-serif, system-ui, sans-serif; text-anchor: middle;
} figure { margin: 1rem 0; }
figure img { display: block; width: 100%; height: auto; }
figcaption { max-width: 44rem; margin-top: .5rem; }
.arms th[scope=row] small { display: block; color: var(--faint); font-weight: 400; }
.arms th, .arms td { padding-inline: .3rem; }
.arms .group { text-align: center; border-bottom-color: var(--rule); }
.arms td.number {
  background: color-mix(in srgb, var(--heat) calc(var(--v, 0) * .3%), transparent);
  print-color-adjust: exact; -webkit-print-color-adjust: exact;
}
.arms td small { display: block; color: var(--faint); font-size: .72rem; white-space: normal; }
.arms thead .number { font-size: .72rem; }
.arms .first { border-left: 1px solid var(--rule); }
.item { margin: 1.1rem 0; padding: .9rem 1.1rem 1rem; background: var(--band); border-radius: .4rem;
} .item p { max-width: none; margin: 0; }
.item .prompt { color: var(--faint); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem 1.6rem; margin-top: .8rem; }
.pair h4 { margin: 0 0 .15rem; color: var(--faint); font-size: .82rem; font-weight: 600; }
mark { background: none; color: inherit; font-weight: 600; text-decoration-line: underline;
  text-decoration-thickness: .14em; text-underline-offset: .18em; }
mark.right { color: var(--supported); }
mark.wrong { color: var(--contradicted); text-decoration-style: wavy; text-decoration-thickness:
.07em; } .badge { margin-left: .5em; color: var(--tone); }
.limits { margin: 1rem 0; padding-left: 1.15rem; }
.limits li { margin: .35rem 0; }
dl {
  display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.4rem; margin: .8rem 0;
  font-size: .86rem;
}
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
details { margin: .7rem 0; font-size: .86rem; }
summary { cursor: pointer; color: var(--link); }
details table { margin-top: .6rem; }
code { font: .8rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap:
anywhere; } @media (max-width: 46rem) {
  body { font-size: 16px; }
  main { padding: 2rem 1rem 3rem; }
  h1 { font-size: 1.65rem; }
  .pair, dl { grid-template-columns: 1fr; }
  dt { margin-top: .5rem; }
  .verdicts thead { display: none; }
  .verdicts tr { display: block; padding: .9rem 0; border-bottom: 1px solid var(--rule); }
  .verdicts td { display: block; width: auto; padding: .2rem 0; border: 0; text-align: left; }
  .verdicts td[data-label]::before { content: attr(data-label) " "; color: var(--faint); }
}
@media print {
  :root {
    --paper: #fff; --ink: #000; --faint: #444; --rule: #bbb; --band: #f4f4f4; --heat: #d55e00;
    --supported: #00694c; --contradicted: #a83200; --inconclusive: #7a5a00;
    --refused: #5d4a78;
  }
  body { font-size: 10.5pt; }
  .verdicts { font-size: 8pt; }
  .verdicts td:first-child, .verdicts th:first-child { width: 6.6rem; }
  .verdicts .effect { width: 10.5rem; }
  .arms, details table { font-size: 6.5pt; }
  .arms th, .arms td { padding: .2rem .15rem; }
  .arms thead .number { font-size: 5.5pt; }
  main { max-width: none; padding: 0; }
  tr, figure, .item, .limits { break-inside: avoid; }
  h2, h3, .key { break-after: avoid; }
  .scroll { overflow: visible; }
}
"""
