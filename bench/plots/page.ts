/** The report: one HTML file that needs no other. */
import { binaryCells } from "../binary/print.ts";
import type { Evaluation } from "../evaluation/evaluate.ts";
import { HEAD, LIMIT_HEAD, limitCells, measuredCells } from "../evaluation/print.ts";
import { type AnyRow, isFailed, isLimit, isRow } from "../evaluation/row.ts";
import { COLORS } from "./draw.ts";
import { fallsPlot } from "./falls.ts";
import { speedupsPlot } from "./speedups.ts";
import { startsPlot } from "./starts.ts";

/** What each figure of the paper shows. */
const TITLES: Record<string, string> = {
	fig9: "Figure 9: SeBS class Python functions",
	fig10: "Figure 10: image recognition, in Python and in WebAssembly",
	fig11: "Figure 11: etcd and memcached",
	fig12: "Figure 12: what memcached's start is made of",
	fig13: "Figure 13: vecdb and cached",
	fig14: "Figure 14: what cached's start is made of",
	fig15: "Figure 15: imgrec-py from a snapshot",
	initscript: "Initscripts: their starts and sizes",
};
/** Those that show waterfalls. */
const FALLS = ["fig12", "fig14"];

export function page(evaluation: Evaluation): string {
	const { machine, link, workloads, tables = [], interrupted } = evaluation;
	const failed = workloads.filter(isFailed);
	const figures = Object.keys(TITLES).filter((figure) =>
		workloads.some(({ figures }) => figures.includes(figure)),
	);
	const body = [
		"<h1>headstart: the paper’s evaluation</h1>",
		paragraph(
			`${machine.cpu}, ${machine.cores} cores, ${machine.memory_gb} GB, ${machine.system}, kernel ${machine.kernel}. Link ${link.profile}: ${link.first_byte_ms} ms to the first byte of each reply, ${link.mb_s} MB/s a connection, before stores, peers and registry alike. Each start is cold: the image and the initscript are pulled in it.${interrupted ? " The run was interrupted." : ""}`,
		),
		...figures.map((figure) =>
			section(
				figure,
				workloads.filter((row) => row.figures.includes(figure)),
			),
		),
		...tables.flatMap((binary) => {
			const [head = [], ...rest] = binaryCells(binary);
			return [`<h2>${escaped(binary.title)}</h2>`, tableOf(head, rest)];
		}),
		...failed.map(
			({ workload, error }) => `<p class="failed"><b>${escaped(workload)}</b> failed: ${escaped(error)}</p>`,
		),
	];
	return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>headstart: the paper’s evaluation</title>
<style>${STYLE}</style>
<body>
${body.join("\n")}
</body></html>
`;
}

function section(figure: string, all: readonly AnyRow[]): string {
	const rows = all.filter(isRow);
	const limits = all.filter(isLimit);
	const falls = FALLS.includes(figure);
	const plots = falls ? [fallsPlot(rows)] : [startsPlot(rows), speedupsPlot(rows)];
	const legends = falls ? [LANES] : [ARMS, POINTS];
	const drawn = plots.flatMap((plot, index) =>
		plot === undefined ? [] : [`<figure>${legends[index]}${plot}</figure>`],
	);
	// What two sections draw is in the tables of one.
	const bounds = falls
		? limits
		: limits.filter((limit) => !limit.figures.some((other) => FALLS.includes(other)));
	return [
		`<h2>${TITLES[figure]}</h2>`,
		...drawn,
		falls ? "" : tableOf(HEAD, measuredCells(all)),
		tableOf(LIMIT_HEAD, bounds.map(limitCells)),
	].join("\n");
}

/** Nothing where there are no rows. */
function tableOf(head: readonly string[], rows: readonly (readonly string[])[]): string {
	if (rows.length === 0) return "";
	const line = (tag: string, row: readonly string[]): string =>
		`<tr>${row.map((cell) => `<${tag}>${escaped(cell)}</${tag}>`).join("")}</tr>`;
	return `<div class="wide"><table>${line("th", head)}${rows.map((row) => line("td", row)).join("")}</table></div>`;
}

const swatch = (color: string, text: string, shape = ""): string =>
	`<span class="swatch ${shape}" style="--c:${color}"></span>${text}`;
const legend = (...all: string[]): string => `<figcaption>${all.join(" ")}</figcaption>`;

const ARMS = legend(
	swatch(COLORS.without, "without initscript"),
	swatch(COLORS.with, "with"),
	swatch(COLORS.promise, "ideal: max(setup, fetch) + load", "line"),
	"<span class=said>whiskers: least to most</span>",
);
const POINTS = legend(
	swatch(COLORS.with, "ours", "dot"),
	swatch(COLORS.with, "ours, image present", "ring"),
	swatch(COLORS.paper, "paper", "diamond"),
	swatch(COLORS.promise, "promised", "triangle"),
);
const LANES = legend(
	swatch(COLORS.setup, "platform"),
	swatch(COLORS.script, "initscript"),
	swatch(COLORS.app, "application"),
	"<span class=said>ms, of the start nearest to the median</span>",
);

const paragraph = (text: string): string => `<p>${escaped(text)}</p>`;

export function escaped(text: string): string {
	const entities: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
	return text.replace(/[&<>"]/g, (character) => entities[character] ?? character);
}

const STYLE = `
:root { color-scheme: light dark; --text: #1d2127; --ground: #fff; --line: #d8dce2; }
@media (prefers-color-scheme: dark) { :root { --text: #e4e7eb; --ground: #15181c; --line: #3a414a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground); max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; }
figure { margin: 1rem 0; }
figcaption { font-size: 13px; margin-bottom: .3rem; }
svg { max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 12.5px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .45rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.failed { border-left: 3px solid ${COLORS.paper}; padding-left: .6rem; white-space: pre-wrap; }
.swatch { display: inline-block; width: 12px; height: 12px; background: var(--c); margin: 0 .35rem 0 .9rem; vertical-align: -1px; }
.swatch:first-child { margin-left: 0; }
.said { margin-left: .9rem; }
.line { width: 3px; height: 14px; }
.dot, .ring { border-radius: 50%; }
.ring { background: none; border: 2px solid var(--c); width: 9px; height: 9px; }
.diamond { background: none; border: 2px solid var(--c); width: 8px; height: 8px; transform: rotate(45deg); }
.triangle { background: none; width: 0; height: 0; border: 6px solid transparent; border-top: 0; border-bottom: 10px solid var(--c); }
`;
