/** The style sheet of a report: one column, tables that scroll by themselves, nothing from outside. */
export const REPORT_STYLE: string = `
:root{color-scheme:light;--line:#d5d8dd;--soft:#f4f5f7;--dim:#5d6470;--link:#0b57a4}
*{box-sizing:border-box}
body{margin:0 auto;max-width:62rem;padding:0 1rem 4rem;font:16px/1.5 system-ui,sans-serif;color:#1c1e21;background:#fff;overflow-wrap:break-word}
h1{font-size:1.6rem;line-height:1.2}h2{margin-top:3rem;border-top:3px solid #1c1e21;padding-top:.6rem}h3{margin:1.6rem 0 .4rem;font-size:1.05rem}
a{color:var(--link)}nav a{display:inline-block;padding:.3rem .8rem .3rem 0}
.scroll{overflow-x:auto;-webkit-overflow-scrolling:touch;margin:.4rem 0}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{border:1px solid var(--line);padding:.3rem .55rem;text-align:left;vertical-align:top}
th{background:var(--soft);font-weight:600}td.n{text-align:right;white-space:nowrap}td.dim{color:var(--dim)}
td.text{min-width:9rem}
.rows table{font-size:.8rem}
tbody th{position:sticky;left:0;max-width:11rem}
tr:target td,tr:target th,tr:target{background:#fff3c4}
figure{margin:1rem 0;max-width:40rem}figure svg{display:block;width:100%;height:auto;border:1px solid var(--line);background:#fff}
figcaption{font-size:.9rem;font-weight:600;margin-bottom:.3rem}
dt{font-weight:600;margin-top:.5rem}dd{margin:0}
.ok{color:#1b6e2c;font-weight:600}.bad{color:#b3261e;font-weight:600}
.modelled{background:#fdf6e3;border:1px dashed #b58900;padding:.1rem .8rem .8rem}
.shown{font-size:.9rem;color:var(--dim)}
@media print{nav{display:none}}
`.trim();
