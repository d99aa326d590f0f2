"""The look of an evaluation's page, in light and dark, wide and narrow."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root{--paper:#f6f7f9;--card:#fff;--ink:#1b2330;--soft:#5b6676;--line:#dfe3e9;--accent:#2f6fde;--warm:#e8912d;
--good:47 111 222;--bad:214 69 45}
@media(prefers-color-scheme:dark){:root{--paper:#12161c;--card:#1b212a;--ink:#e7ecf3;--soft:#98a4b5;--line:#303947;
--accent:#6ba3ff;--warm:#f0a54e;--good:70 130 240;--bad:226 88 62}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:28px 20px 60px}
h1{margin:0;font-size:30px;line-height:1.2;letter-spacing:-.01em;overflow-wrap:anywhere}
h1 small{color:var(--soft);font-weight:400;font-size:.6em}
h2{margin:0 0 14px;font-size:18px}
h3{margin:0 0 8px;font-size:15px;overflow-wrap:anywhere}
h3 small{color:var(--soft);font-weight:400;margin-left:6px}
header p{margin:6px 0 0}
.fine{color:var(--soft);font-size:13px;margin:12px 0 0;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:22px 0}
.card,section{background:var(--card);border:1px solid var(--line);border-radius:12px}
.card{padding:14px 16px}
.card b{display:block;font-size:28px;line-height:1.15;font-variant-numeric:tabular-nums}
.card b small{font-size:14px;font-weight:400;color:var(--soft)}
.card span{color:var(--soft);font-size:13px}
section{padding:20px;margin:0 0 20px;min-width:0}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:0 20px;align-items:start}
.wide{overflow-x:auto;margin:0 -20px;padding:0 20px}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
.classes{width:100%;min-width:600px}
.classes th,.classes td{padding:5px 10px;text-align:right;border-top:1px solid var(--line)}
.classes th:first-child{text-align:left;white-space:nowrap;font-weight:500;padding-left:0}
.classes thead th{border:0;color:var(--soft);font-size:13px;font-weight:400;vertical-align:bottom}
.classes thead th:nth-child(2){text-align:left}
.classes .mean th,.classes .mean td{border-top:2px solid var(--line);font-weight:600}
.classes th small{color:var(--soft);font-weight:400;margin-left:6px}
.classes .off{color:var(--warm);font-weight:600}
.bars{width:46%}
.line{display:flex;align-items:center;gap:8px;font-size:13px;line-height:1.25}
.line span{width:38px;flex:none}
.line:nth-child(2){color:var(--soft)}
.track{flex:1;background:var(--line);border-radius:3px;overflow:hidden}
.track div{height:8px;border-radius:3px}
.line:nth-child(2) .track div{height:5px}
.a{background:var(--accent)}.b{background:var(--warm)}
.key{display:inline-block;width:14px;height:8px;border-radius:3px}
i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:8px;vertical-align:-1px;
box-shadow:0 0 0 1px rgb(128 128 128 / .5)}
.heat{border-collapse:separate;border-spacing:2px;font-size:13px;margin:0 auto}
.heat td{min-width:38px;height:30px;text-align:center;border-radius:4px}
.heat tbody td{box-shadow:inset 0 0 0 1px var(--line)}
.heat th{font-weight:400;text-align:right;padding-right:6px;white-space:nowrap}
.heat thead th{vertical-align:bottom;padding:0 0 4px;text-align:center}
.heat thead th span{writing-mode:vertical-rl;transform:rotate(180deg);max-height:120px}
.heat .dark{color:#fff}
svg{display:block;width:100%;height:auto}
svg text{fill:var(--soft);font-size:12px;font-family:inherit}
svg .note{fill:var(--ink)}
svg .grid{stroke:var(--line)}
svg .bar{fill:var(--accent)}
svg .gap{fill:var(--warm)}
svg .level{stroke:var(--ink);stroke-width:2}
svg .diagonal{stroke:var(--soft);stroke-dasharray:5 4}
svg .mark{stroke:var(--warm);stroke-width:2}
.chips{display:flex;flex-wrap:wrap;gap:4px 16px;margin:0 0 16px;font-size:13px}
article{margin:0 0 22px}
.strip{display:grid;grid-template-columns:repeat(4,1fr);gap:8px}
figure{margin:0;min-width:0}
figure img{display:block;width:100%;height:auto;border-radius:6px;background:var(--line)}
figcaption{color:var(--soft);font-size:12px;margin-top:3px}
@media(max-width:760px){main{padding:20px 12px 40px}section{padding:16px}.wide{margin:0 -16px;padding:0 16px}
.pair{grid-template-columns:minmax(0,1fr)}.strip{grid-template-columns:1fr 1fr}
.cards{grid-template-columns:1fr 1fr;gap:8px}.card b{font-size:23px}h1{font-size:24px}
.heat th:first-child,.heat td:first-child,.classes th:first-child{position:sticky;left:0;background:var(--card)}}
"""
