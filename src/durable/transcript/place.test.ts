import { expect, test } from "vitest";
import { placeOf } from "./place.ts";

test.each([
	["tcp://DB.local:1?frame=line", "tcp://db.local:1"],
	["tcps://db:443/", "tcps://db:443"],
	["Redis://cache:6379", "redis://cache"],
	["redis://cache:6380", "redis://cache:6380"],
	["https://a:443", "https://a"],
	["http://[::1]:80", "http://[::1]"],
	["s3://bucket", "s3://bucket"],
	["no address", "no address"],
	["", ""],
])("%s leads to %s", (address, place) => {
	expect(placeOf(address)).toBe(place);
	expect(placeOf(place)).toBe(place);
});
