"""The look of the report's page."""

__all__ = ["STYLE"]

STYLE = """
:root{--ink:#1c2430;--soft:#5b6675;--line:#dfe4ea;--paper:#fff;--back:#f5f7f9;--before:#b9c3cf;--now:#2f6fb3;
--bad:#b3401f;--badback:#fdeee8;--good:#1f7a4d;--goodback:#e8f6ee;--warn:#8a6100;--warnback:#fdf4dc;--none:#5b6675;
--noneback:#eceff3}
@media (prefers-color-scheme:dark){:root{--ink:#e6ebf1;--soft:#9aa7b6;--line:#2c3642;--paper:#181f27;--back:#10151b;
--before:#4a5868;--now:#6cb0f2;--bad:#ff9069;--badback:#3a2018;--good:#68d39b;--goodback:#16301f;--warn:#f0c75e;
--warnback:#33290f;--none:#9aa7b6;--noneback:#252d36}}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 24px 48px}
h1{font-size:25px;line-height:1.25;margin:0 0 18px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:18px;margin:36px 0 10px}h3{font-size:15px;margin:0;overflow-wrap:anywhere}
a{color:inherit;text-decoration-color:var(--line);text-underline-offset:3px}a:hover{text-decoration-color:currentColor}
small{color:var(--soft);font-size:12.5px}p{margin:8px 0;max-width:76ch}ul{margin:8px 0;padding-left:20px}
.eyebrow{margin:0;color:var(--soft);font-size:12.5px;letter-spacing:.08em;text-transform:uppercase}
.verdict{border-left:5px solid var(--c);background:var(--b);border-radius:8px;padding:14px 18px}
.verdict h2{margin:0;color:var(--c);font-size:19px}.verdict p{margin:4px 0 0}
.bad,.drifted,.absent{--c:var(--bad);--b:var(--badback)}.good,.same{--c:var(--good);--b:var(--goodback)}
.slight{--c:var(--warn);--b:var(--warnback)}.none,.unknown{--c:var(--none);--b:var(--noneback)}
dl{margin:0}dt{color:var(--soft);font-size:12.5px}dd{margin:0}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:12px 28px;margin-top:18px}
table{border-collapse:collapse;width:100%}caption{text-align:left;color:var(--soft);font-size:13px;padding:0 0 8px}
th,td{padding:7px 12px 7px 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:middle;font-weight:400}
thead th{color:var(--soft);font-size:12.5px}tbody th{font-weight:600}.n{text-align:right;
font-variant-numeric:tabular-nums;white-space:nowrap}
.overview td:nth-child(3){min-width:170px}.overview tbody th{max-width:260px;overflow-wrap:break-word}
.effect{white-space:nowrap}.effect .n{margin-left:8px;font-size:13px}.overview .same td:nth-child(3){color:var(--soft)}
.wide{overflow-x:auto}.role{color:var(--soft);font-size:12px;font-weight:400;border:1px solid var(--line);
border-radius:4px;padding:0 5px}
.chip{display:inline-block;color:var(--c);background:var(--b);border-radius:99px;padding:1px 10px;font-size:12.5px;
font-weight:600;white-space:nowrap}
.key i{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 3px 0 12px;vertical-align:-1px}
i.before{background:var(--before)}i.now{background:var(--now)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,440px),1fr));gap:16px}
.card{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:14px 16px;min-width:0;
scroll-margin-top:12px}
.card header{display:flex;align-items:center;gap:8px;flex-wrap:wrap}.card header small{margin-left:auto}
.card .said{margin:6px 0 0}.card dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:4px 16px;
margin-top:6px;font-size:13.5px}
details{margin-top:8px;font-size:13px}summary{color:var(--soft);cursor:pointer}
details td,details th{padding:3px 10px 3px 0}
svg{display:block;width:100%;height:auto}svg.meter,svg.spark{display:inline-block;width:96px;vertical-align:middle}
svg.plot{margin-top:6px}svg text{fill:var(--soft);font-size:11px;font-family:inherit}
.wide svg.plot{min-width:720px}
.before{fill:var(--before)}.now{fill:var(--now)}.drifted .now,.absent .now{fill:var(--bad)}
.slight .now{fill:var(--warn)}
.hit{fill:transparent}g:hover>.hit{fill:var(--line);fill-opacity:.6}
.grid{stroke:var(--line);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}.tick{text-anchor:middle}
.share,.name,.last{text-anchor:end}svg text.name{fill:var(--ink);font-size:12px}
.cell0{fill:var(--noneback)}.cell{fill:var(--bad)}.dot{fill:var(--paper)}.fill{fill:var(--now)}
.drifted .fill{fill:var(--bad)}.slight .fill{fill:var(--warn)}.limit{stroke:var(--soft);stroke-dasharray:2 2}
.calm{fill:var(--before)}rect.drift{fill:var(--bad)}
footer{margin-top:40px;border-top:1px solid var(--line);color:var(--soft);font-size:13.5px}footer h2{font-size:14px;
margin-top:18px;color:var(--ink)}.digest{font-size:12px;overflow-wrap:anywhere}
@media print{:root{--ink:#111;--soft:#555;--line:#ccc;--paper:#fff;--back:#fff;--before:#c5ccd4;--now:#2f6fb3;
--bad:#a3350f;--badback:#fff;--good:#1f7a4d;--goodback:#fff;--warn:#7a5600;--warnback:#fff;--none:#555;--noneback:#eee}
body{font-size:11pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}main{max-width:none;padding:0}
details{display:none}.card,tr,.verdict{break-inside:avoid}h2{break-after:avoid}.cards{grid-template-columns:1fr 1fr}
.wide{overflow:visible}.wide svg.plot{min-width:0}}
"""
