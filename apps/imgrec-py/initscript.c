/*
 * Claims a task and fetches what the application will need for it, while its sandbox is being set up: the model, the photo that
 * the task names, and a connection to the store that the task's output is for. Input: {"queue": "jobs"}; a task is
 * {"bucket": "inputs", "key": "chelsea.png", "output": "http://host:port/…"}.
 */
#include "headstart.h"
#include "headstart_json.h"

static char event[4096];
static char answer[65536];
static char task[16384];
static char output[4096];
static char bucket[64];
static char key[1024];

static const char CLAIM[] = "ReceiveMessage\n\n{\"MaxNumberOfMessages\":1}";

/* Asks for a task. The answer goes to the application as it comes, whatever becomes of this script. */
static int32_t claim(struct hs_conn *conn, const char *queue, uint64_t *id)
{
	char address[HS_ADDRESS_BYTES];
	struct hs_text text = hs_text(address, sizeof address);
	hs_add(&text, "sqs://");
	hs_add(&text, queue);
	int32_t named = hs_connect(conn, address);
	*id = hs_fnv1a64_more(hs_fnv1a64("RECEIVE "), address, text.length);
	*id = hs_fnv1a64_more(*id, "/ReceiveMessage", 15);
	if (named < 0 || (named = hs_send(conn, *id, CLAIM, sizeof CLAIM - 1)) < 0)
		return named;
	return headstart_send_reply(*id, *id);
}

/* Waits for the task. The length of its body, 0 when there is none, or an error. */
static int32_t claimed(const struct hs_conn *conn, uint64_t id)
{
	struct headstart_reply_info reply;
	int32_t length = headstart_recv_rpc_reply((uint32_t)conn->handle, id, &reply);
	if (length < 0)
		return length;
	if (reply.status != 200 || reply.length > sizeof answer)
		return -HEADSTART_BAD_REPLY;
	if ((length = headstart_read_reply(id, 0, answer, sizeof answer)) < 0)
		return length;
	struct hs_json json = { (const uint8_t *)answer, (const uint8_t *)answer + length };
	if (!hs_json_find(&json, "Messages") || !hs_json_take(&json, '[') || hs_json_take(&json, ']'))
		return 0;
	return hs_json_text((const char *)json.at, (uint32_t)(json.end - json.at), "Body", task, sizeof task);
}

/* Where a URL leads: "http://host/path" gives "tcp://host:80", "https://host:1/path" "tcps://host:1". Whether it is one. */
static int destination(const char *url, struct hs_text *address)
{
	int port = 0, tls = hs_json_equal(url, "https://", 8);
	if (!tls && !hs_json_equal(url, "http://", 7))
		return 0;
	hs_add(address, tls ? "tcps://" : "tcp://");
	for (const char *at = url + (tls ? 8 : 7); *at && *at != '/'; at++) {
		port = *at == ':' || (port && *at != ']'); /* "[::1]" has none */
		hs_put(address, *at);
	}
	if (!port)
		hs_add(address, tls ? ":443" : ":80");
	return !address->full;
}

/* Opens a connection to where the task's output is stored, and hands it over under the name that the storage library asks by. */
static int hand_over(const char *url)
{
	struct hs_conn conn;
	char address[HS_ADDRESS_BYTES];
	struct hs_text text = hs_text(address, sizeof address);
	if (!destination(url, &text))
		return 0;
	hs_connect(&conn, address);
	return hs_transfer_conn(hs_fnv1a64_more(hs_fnv1a64("CONNECT "), address, text.length), address, &conn) >= 0;
}

/* Fetches the photo that the task names, from the bucket that it names. */
static int fetch_photo(int32_t length)
{
	struct hs_conn conn;
	char address[HS_ADDRESS_BYTES];
	struct hs_text text = hs_text(address, sizeof address);
	if (hs_json_text(task, (uint32_t)length, "bucket", bucket, sizeof bucket) < 0 ||
	    hs_json_text(task, (uint32_t)length, "key", key, sizeof key) < 0)
		return 0;
	hs_add(&text, "s3://");
	hs_add(&text, bucket);
	hs_connect(&conn, address);
	return hs_s3_get(&conn, key, 0) >= 0;
}

HEADSTART_MAIN
{
	struct hs_conn queue, models;
	char name[128];
	uint64_t id;
	headstart_expect(4); /* the task, the model, the photo, the connection */
	int32_t length = hs_input(event, sizeof event);
	if (length < 0 || hs_json_text(event, (uint32_t)length, "queue", name, sizeof name) < 0) {
		struct hs_text text = hs_text(name, sizeof name);
		hs_add(&text, "jobs");
	}
	int32_t sent = claim(&queue, name, &id);
	hs_connect(&models, "s3://models");
	hs_s3_get(&models, "efficientnet-lite0.onnx", 0);

	length = sent < 0 ? sent : claimed(&queue, id);
	if (length <= 0) {
		hs_log(length == 0 ? "there is no task" : "the queue gives no task that can be read");
		return length == 0 ? 0 : 1;
	}
	int fetches = fetch_photo(length);
	if (hs_json_text(task, (uint32_t)length, "output", output, sizeof output) < 0 || !hand_over(output) || !fetches) {
		hs_log("the task does not name a photo and an output");
		return 2;
	}
	return 0;
}
