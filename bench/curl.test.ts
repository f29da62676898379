import { createServer } from "node:http";
import { expect, it } from "vitest";
import { curlGet, parseTransfer } from "./curl.ts";

it("reads curl's own times", () => {
	const transfer = parseTransfer("200 1000 0.051000 0.001000\n");
	expect(transfer).toMatchObject({ status: 200, bytes: 1000 });
	expect(transfer.seconds).toBeCloseTo(0.05);
	expect(() => parseTransfer("")).toThrow(/curl wrote/);
});

it("gets a signed object", async () => {
	let authorization: string | undefined;
	const server = createServer((request, response) => {
		authorization = request.headers.authorization;
		response.end(Buffer.alloc(5000));
	});
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const address = server.address();
	if (address === null || typeof address === "string") throw new Error("no port");
	try {
		const transfer = await curlGet(
			{
				endpoint: `http://127.0.0.1:${address.port}`,
				region: "us-east-1",
				accessKey: "key",
				secretKey: "secret",
			},
			"bucket/object",
		);
		expect(transfer).toMatchObject({ status: 200, bytes: 5000 });
		expect(authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=key\/\d+\/us-east-1\/s3\/aws4_request/);
	} finally {
		server.close();
	}
});
