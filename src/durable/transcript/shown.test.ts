import { expect, test } from "vitest";
import { shown } from "./shown.ts";

test.each([
	["GET s3://b/sig=1", "GET s3://b/sig=1"],
	["GET http://h/k?signed=1&q=sig=2", "GET http://h/k?signed=1&q=sig=2"],
	["PUT http://h/k?X-Amz-Date=1&X-Amz-Signature=0a1b", "PUT http://h/k?X-Amz-Date=1&X-Amz-Signature=…"],
	["GET http://h/k?sig=a%2Bb%3D&se=2#bytes=0-9", "GET http://h/k?sig=…&se=2#bytes=0-9"],
	["GET http://h/k?x-amz-security-token=a&Signature=b", "GET http://h/k?x-amz-security-token=…&Signature=…"],
])("%s", (content, expected) => {
	expect(shown(content)).toBe(expected);
});
