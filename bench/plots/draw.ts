/** Observable Plot's figures as SVG, without a browser. */
import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";

/** Of the whole report; the middle tones are told apart on light and on dark ground. */
export const COLORS = {
	without: "#8b929c",
	with: "#2f80d8",
	setup: "#8b929c",
	script: "#2f80d8",
	app: "#d9822b",
	paper: "#c0392b",
	promise: "#2e9e5b",
} as const;

/** Wide enough for a page; it shrinks with it. */
export const WIDTH = 860;

/** Draws a figure: `<svg …>`, whose text has the page's colour. */
export function draw(options: Plot.PlotOptions): string {
	const { document } = parseHTML("<!doctype html><html><body></body></html>");
	const drawn = Plot.plot({
		width: WIDTH,
		style: { fontSize: "12px", background: "none" },
		...options,
		document,
	});
	return drawn.outerHTML.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ');
}
