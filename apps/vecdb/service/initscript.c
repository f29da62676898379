/*
 * Asks the coordinator which shards are this server's and fetches them, while the server's sandbox is being set up. Input:
 * {"assignment": "http://host:port/path"}; the answer: {"shards": ["memcached://host:port/key", …]}.
 */
#include "headstart.h"
#include "headstart_json.h"

static char event[4096];
static char answer[65536];

/*
 * Sends a request on a connection to its server: GET by HTTP, or mg to a cache. Its id is that of its content, by which the server
 * claims it.
 */
static int32_t fetch(const char *url, uint64_t *id)
{
	struct hs_conn conn;
	char bytes[HS_REQUEST_BYTES];
	const char *path;
	int cache = url[0] == 'm';
	if (hs_connect_url(&conn, url, &path) < 0)
		return conn.handle;
	*id = hs_fnv1a64_more(hs_fnv1a64(cache ? "MG " : "GET "), url, hs_length(url));
	struct hs_text request = hs_text(bytes, sizeof bytes);
	hs_add(&request, cache ? "mg " : "GET ");
	hs_add(&request, path + cache); /* a key has no slash before it */
	hs_add(&request, cache ? " v" : "\n\n");
	if (request.full)
		return -HEADSTART_INVALID_ARGUMENT;
	int32_t sent = hs_send(&conn, *id, bytes, request.length);
	return sent < 0 ? sent : conn.handle;
}

/* Fetches each shard of an assignment; the bytes go on to the server as they come. */
static int fetch_shards(struct hs_json json)
{
	if (!hs_json_find(&json, "shards") || !hs_json_take(&json, '['))
		return 0;
	do {
		char url[1024];
		uint64_t id;
		int32_t length = hs_json_string(&json, url, sizeof url - 1);
		if (length < 0 || length >= (int32_t)sizeof url)
			return 0;
		url[length] = 0;
		if (fetch(url, &id) < 0 || headstart_send_reply(id, id) < 0)
			return 0;
	} while (hs_json_take(&json, ','));
	return 1;
}

HEADSTART_MAIN
{
	char url[1024];
	uint64_t id;
	struct headstart_reply_info reply;
	headstart_expect(1);
	int32_t length = hs_input(event, sizeof event);
	if (length < 0 || hs_json_text(event, (uint32_t)length, "assignment", url, sizeof url) < 0) {
		hs_log("the input names no assignment");
		return 1;
	}
	int32_t conn = fetch(url, &id);
	if (conn < 0 || headstart_recv_rpc_reply((uint32_t)conn, id, &reply) < 0 || reply.length > sizeof answer) {
		hs_log("the coordinator does not answer");
		return 2;
	}
	length = headstart_read_reply(id, 0, answer, sizeof answer);
	struct hs_json json = { (const uint8_t *)answer, (const uint8_t *)answer + (length < 0 ? 0 : length) };
	int fetched = fetch_shards(json);
	/* Comes last: when the server has the assignment, all shards are there for it to claim. */
	headstart_send_reply(id, id);
	if (!fetched)
		hs_log("the coordinator's answer is no assignment");
	return fetched ? 0 : 3;
}
