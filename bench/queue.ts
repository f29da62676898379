import { join } from "node:path";
import { type Sink, Supervised } from "../src/cli/node/child.ts";
import { SERVICES } from "../src/cli/node/dev-store.ts";
import { freePort, until } from "../src/cli/node/wait.ts";
import { built, program } from "../src/cli/paths.ts";

/** The account that all queues are of. */
const ACCOUNT = "123456789012";
/** It stands for another machine, and must take no time from what is measured on this one. */
const LEAST = ["-n", "19"];

/** How many of a queue's tasks are there to be claimed, and how many are claimed and not done. */
export interface QueueCounts {
	visible: number;
	claimed: number;
}

/** SQS for development (set-up's moto), and the shaped link before it where one was asked for. */
export class QueueService {
	/** What the secret names: the link if there is one, else the service. */
	readonly endpoint: string;
	readonly region = "us-east-1";
	/** It asks for a signature, and not for a particular one. */
	readonly accessKey = "test";
	readonly secretKey = "test";
	readonly #direct: string;
	readonly #programs: Supervised[];

	private constructor(endpoint: string, direct: string, programs: Supervised[]) {
		this.endpoint = endpoint;
		this.#direct = direct;
		this.#programs = programs;
	}

	static async start({ shaped = false, sink }: { shaped?: boolean; sink: Sink }): Promise<QueueService> {
		const port = async (): Promise<string> => `${SERVICES}:${await freePort(0, SERVICES)}`;
		const direct = await port();
		const [host = "", number = ""] = direct.split(":");
		const moto = ["/usr/bin/python3", "-m", "moto.server", "-H", host, "-p", number];
		const env = { ...process.env, PYTHONPATH: join(built, "moto") };
		const programs = [
			new Supervised({ name: "queue", command: "nice", args: [...LEAST, ...moto], options: { env } }, sink),
		];
		const endpoint = shaped ? await port() : direct;
		if (shaped) {
			const link = [program("headstart-link"), "--listen", endpoint, "--to", direct];
			programs.push(
				new Supervised({ name: "queue's link", command: "nice", args: [...LEAST, ...link] }, sink),
			);
		}
		const service = new QueueService(`http://${endpoint}`, `http://${direct}`, programs);
		try {
			await until("the queue's service", 20_000, async () => {
				const answer = await fetch(service.#direct, { signal: AbortSignal.timeout(5_000) });
				await answer.arrayBuffer();
				return true;
			});
		} catch (error) {
			await service.stop();
			throw error;
		}
		return service;
	}

	/** The endpoint and the account: with it no client has to ask for a queue's URL. */
	get account(): string {
		return `${this.endpoint}/${ACCOUNT}`;
	}

	/** `attributes` as in "VisibilityTimeout": "30". */
	async create(queue: string, attributes: Record<string, string> = {}): Promise<void> {
		await this.#act("CreateQueue", { QueueName: queue, Attributes: attributes });
	}

	/** Puts a task into a queue. Its id. */
	async send(queue: string, body: string): Promise<string> {
		const { MessageId } = await this.#act("SendMessage", { QueueUrl: this.#url(queue), MessageBody: body });
		return String(MessageId);
	}

	async counts(queue: string): Promise<QueueCounts> {
		const members = { QueueUrl: this.#url(queue), AttributeNames: ["All"] };
		const { Attributes } = await this.#act("GetQueueAttributes", members);
		const { ApproximateNumberOfMessages: visible, ApproximateNumberOfMessagesNotVisible: claimed } =
			Attributes as Record<string, string>;
		return { visible: Number(visible), claimed: Number(claimed) };
	}

	/** Removes a queue with all its tasks. */
	async remove(queue: string): Promise<void> {
		await this.#act("DeleteQueue", { QueueUrl: this.#url(queue) });
	}

	async stop(): Promise<void> {
		for (const program of this.#programs.reverse()) await program.stop(2_000);
	}

	#url(queue: string): string {
		return `${this.#direct}/${ACCOUNT}/${queue}`;
	}

	/** Does an action of SQS, around the link. moto knows the service by the signature's scope, and checks no more of it. */
	async #act(action: string, members: Record<string, unknown>): Promise<Record<string, unknown>> {
		const scope = `Credential=${this.accessKey}/20260101/${this.region}/sqs/aws4_request`;
		const answer = await fetch(this.#direct, {
			method: "POST",
			headers: {
				"content-type": "application/x-amz-json-1.0",
				"x-amz-target": `AmazonSQS.${action}`,
				authorization: `AWS4-HMAC-SHA256 ${scope},SignedHeaders=host,Signature=x`,
			},
			body: JSON.stringify(members),
			signal: AbortSignal.timeout(30_000),
		});
		const text = await answer.text();
		if (!answer.ok) throw new Error(`${action}: ${answer.status} ${text}`);
		return text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
	}
}
