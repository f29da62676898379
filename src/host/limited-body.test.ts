import { expect, test } from "vitest";
import { limitedBody } from "./limited-body.ts";

const post = (body: BodyInit): Request => new Request("http://h/", { method: "POST", body });

test("a body within its bound is read, a longer one is refused, said to be long or not", async () => {
	expect(await limitedBody(post("grüß"), 6)).toBe("grüß");
	expect(await limitedBody(new Request("http://h/"), 1)).toBe("");
	for (const length of [7, 100]) {
		const parts = new ReadableStream({
			start(controller) {
				for (let sent = 0; sent < length; sent++) controller.enqueue(new Uint8Array(1));
				controller.close();
			},
		});
		await expect(limitedBody(post(parts), 6)).rejects.toMatchObject({ code: "payloadTooLarge" });
		await expect(limitedBody(post("x".repeat(length)), 6)).rejects.toMatchObject({ code: "payloadTooLarge" });
	}
});

test("one that does not come does not wait for ever", async () => {
	const silent = new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(1)) });
	await expect(limitedBody(post(silent), 6, 20)).rejects.toMatchObject({ code: "deadline" });
});
