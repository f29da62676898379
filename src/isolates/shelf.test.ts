import { expect, test } from "vitest";
import { Shelf } from "./shelf.ts";

test("what was used longest ago goes first", () => {
	const shelf = new Shelf<string>({ items: 2, bytes: 100 });
	shelf.put("a", "A", 10);
	shelf.put("b", "B", 10);
	expect(shelf.get("a")).toBe("A");
	shelf.put("c", "C", 10);
	expect([shelf.get("a"), shelf.get("b"), shelf.get("c")]).toEqual(["A", undefined, "C"]);
});

test("bytes count, also of what was replaced or removed", () => {
	const shelf = new Shelf<string>({ items: 9, bytes: 100 });
	shelf.put("a", "A", 60);
	shelf.put("a", "A2", 40);
	shelf.put("b", "B", 60);
	expect(shelf.get("a")).toBe("A2");
	shelf.put("c", "C", 50);
	expect([shelf.get("b"), shelf.get("a"), shelf.get("c")]).toEqual([undefined, "A2", "C"]);
	shelf.remove("a");
	shelf.remove("not there");
	shelf.put("d", "D", 50);
	expect(shelf.get("c")).toBe("C");
});
