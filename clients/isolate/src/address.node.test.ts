import { expect, test } from "vitest";
import { url } from "./address.ts";

/** As clients/python has them: ids are made of these. */
test.each([
	["/a/b", "s3://b/a/b"],
	["ä b+c", "s3://b/%C3%A4%20b%2Bc"],
	["(it's)*!~", "s3://b/%28it%27s%29%2A%21~"],
	["a%2Fb", "s3://b/a%252Fb"],
])("the address of %s", (key, address) => {
	expect(url("b", key)).toBe(address);
});
