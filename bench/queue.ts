import { join } from "node:path";
import { type Sink, Supervised } from "../src/cli/node/child.ts";
import { addServicesAddress, SERVICES } from "../src/cli/node/dev-store.ts";
import { freePort, until } from "../src/cli/node/wait.ts";
import { built } from "../src/cli/paths.ts";

const REGION = "us-east-1";
/** The account that all queues are of: with it behind the endpoint, no client has to ask for a queue's URL. */
export const ACCOUNT = "123456789012";
/** How many of a queue's tasks are there to be claimed, and how many are claimed and not done. */
export interface QueueCounts {
	visible: number;
	claimed: number;
}

/** What the secret of kind "sqs" says. */
export interface QueueSecret {
	kind: "sqs";
	endpoint: string;
	region: string;
	access_key: string;
	secret_key: string;
}

/** SQS for development (set-up's moto). */
export class QueueService {
	/** "http://host:port", reached from sandboxes too. */
	readonly endpoint: string;
	readonly #program: Supervised;

	private constructor(endpoint: string, program: Supervised) {
		this.endpoint = endpoint;
		this.#program = program;
	}

	/** `nice`: 19 where it stands for another machine, and must take no time from what is measured on this one. */
	static async start({ sink, nice = 0 }: { sink: Sink; nice?: number }): Promise<QueueService> {
		await addServicesAddress();
		const port = `${await freePort(0, SERVICES)}`;
		const moto = ["/usr/bin/python3", "-m", "moto.server", "-H", SERVICES, "-p", port];
		const args = ["-n", `${nice}`, ...moto];
		const env = { ...process.env, PYTHONPATH: join(built, "moto") };
		const program = new Supervised({ name: "queue", command: "nice", args, options: { env } }, sink);
		const service = new QueueService(`http://${SERVICES}:${port}`, program);
		try {
			await until("the queue's service", 20_000, async () => {
				const answer = await fetch(service.endpoint, { signal: AbortSignal.timeout(5_000) });
				await answer.arrayBuffer();
				return true;
			});
		} catch (error) {
			await service.stop();
			throw error;
		}
		return service;
	}

	/** The secret for it, or for what is in front of it. Any key will do: it asks for a signature, and not for a particular one. */
	secret(endpoint = this.endpoint): QueueSecret {
		return { kind: "sqs", endpoint, region: REGION, access_key: "test", secret_key: "test" };
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
		await this.#program.stop(2_000);
	}

	#url(queue: string): string {
		return `${this.endpoint}/${ACCOUNT}/${queue}`;
	}

	/** Does an action of SQS. moto knows the service by the signature's scope, and checks no more of it. */
	async #act(action: string, members: Record<string, unknown>): Promise<Record<string, unknown>> {
		const scope = `Credential=test/20260101/${REGION}/sqs/aws4_request`;
		const answer = await fetch(this.endpoint, {
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
