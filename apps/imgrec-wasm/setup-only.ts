/** All that comes before the first download, and nothing after it: for measuring. */
export { setup } from "./app.ts";

export default function handler(): { label: null } {
	console.log("mark: inference begins");
	return { label: null };
}
