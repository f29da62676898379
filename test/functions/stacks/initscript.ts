// Speaks each protocol that is no HTTP, as its input says, and passes on what it gets.
import { connect, inputJson, readReply, recvRpcReply, sendMsg, sendReply, sendRpc } from "headstart";
import {
	grpcUnary,
	memcachedGet,
	memcachedSet,
	redisCommand,
	redisReply,
	sqsDelete,
	sqsReceive,
	sqsTasks,
} from "headstart/protocols";

interface Input {
	redis?: string;
	password?: string;
	memcached?: string;
	queue?: string;
	grpc?: string;
	tcp?: string;
}

export default async function main(): Promise<void> {
	const { redis, password, memcached, queue, grpc, tcp } = inputJson<Input>();
	await Promise.all([
		redis && useRedis(redis, password),
		memcached && useMemcached(memcached),
		queue && useQueue(queue),
		grpc && useGrpc(grpc),
		tcp && useTcp(tcp),
	]);
}

async function useRedis(address: string, password?: string): Promise<void> {
	const cache = connect(address);
	if (password !== undefined) sendRpc(cache, "auth", redisCommand("AUTH", password));
	sendRpc(cache, "set", redisCommand("SETEX", "model", 60, "weights of redis"));
	sendRpc(cache, "get", redisCommand("GET", "model"));
	sendReply("redis", "get");
	sendRpc(cache, "push", redisCommand("RPUSH", "list", "a", "b"));
	sendRpc(cache, "range", redisCommand("LRANGE", "list", 0, -1));
	sendRpc(cache, "none", redisCommand("GET", "nothing"));
	await recvRpcReply(cache, "range");
	const list = redisReply(await readReply("range", 0));
	const { status } = await recvRpcReply(cache, "none");
	sendMsg("redis-list", JSON.stringify({ list, nothing: status }));
}

async function useMemcached(address: string): Promise<void> {
	const cache = connect(address);
	sendRpc(cache, "ms", memcachedSet("model", "weights of memcached", "T60"));
	sendRpc(cache, "mg", memcachedGet("model"));
	sendReply("memcached", "mg");
}

/** Claims a task, passes it on, and deletes it. */
async function useQueue(address: string): Promise<void> {
	const queue = connect(address);
	sendRpc(queue, "claim", sqsReceive());
	await recvRpcReply(queue, "claim");
	const [task] = sqsTasks(await readReply("claim", 0));
	sendMsg("task", task?.body ?? "none");
	if (!task) return;
	sendRpc(queue, "done", sqsDelete(task.receipt));
	const { status } = await recvRpcReply(queue, "done");
	sendMsg("task-deleted", String(status));
}

/** Puts and reads a value in etcd. The messages are small enough to be written by hand: field 1 is the key, 2 the value. */
async function useGrpc(address: string): Promise<void> {
	const kv = connect(address);
	const encoder = new TextEncoder();
	const field = (number: number, text: string): number[] => [
		(number << 3) | 2,
		text.length,
		...encoder.encode(text),
	];
	const put = new Uint8Array([...field(1, "model"), ...field(2, "weights of etcd")]);
	sendRpc(kv, "put", grpcUnary("/etcdserverpb.KV/Put", put));
	await recvRpcReply(kv, "put");
	sendRpc(kv, "range-of-etcd", grpcUnary("/etcdserverpb.KV/Range", new Uint8Array(field(1, "model"))));
	sendReply("grpc", "range-of-etcd");
	sendRpc(kv, "wrong", grpcUnary("/etcdserverpb.KV/Nothing", new Uint8Array()));
	sendMsg("grpc-status", String((await recvRpcReply(kv, "wrong")).status));
}

async function useTcp(address: string): Promise<void> {
	const service = connect(address);
	sendRpc(service, "line", "hello");
	sendReply("tcp", "line");
}
