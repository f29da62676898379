/* Every call of the API: see calls.ts. */
#include "headstart.h"
#include "headstart_json.h"

#define HUGE_ID 0xffffffffffffffffULL
#define BODY_BYTES ((1 << 20) + 1)

static char event[1024];
static char mode[32];
static char address[128];
static char framed[160];
static char body[BODY_BYTES];

static int is(const char *name)
{
	return hs_json_equal(mode, name, hs_length(mode)) && name[hs_length(mode)] == 0;
}

static int32_t fetch(void)
{
	struct hs_conn store;
	struct headstart_reply_info reply;
	headstart_expect(2);
	headstart_expect_msg(7);
	hs_connect(&store, "s3://inputs");
	hs_send(&store, HUGE_ID, "GET /x\n\n", 8);
	int32_t result = headstart_recv_rpc_reply((uint32_t)store.handle, HUGE_ID, &reply);
	if (result < 0)
		return -result;
	int32_t length = headstart_read_reply(HUGE_ID, 1, body, sizeof body);
	headstart_send_msg(5, body, (uint32_t)length);
	headstart_send_reply(6, HUGE_ID);
	headstart_send_msg(7, event, hs_length(event));
	hs_s3_get(&store, "/a b/\xc3\xa9!.png", 0);
	hs_log("done");
	return reply.status == 200 ? 0 : (int32_t)reply.status;
}

static int32_t place(void)
{
	struct hs_conn store;
	headstart_expect(2);
	hs_connect(&store, "s3://inputs");
	hs_s3_get_to(&store, "x", "file:/tmp/shared", 4096, 100, 0);
	hs_send_to(&store, 1, "GET /x\n\n", 8, "file:/tmp/shared", 4195, 0);
	return -headstart_send_reply(1, 1);
}

static int32_t echo(void)
{
	headstart_expect(1);
	headstart_deadline(5000);
	int32_t length = hs_recv_msg(hs_fnv1a64("question"), body, sizeof body);
	return length < 0 ? -length : -headstart_send_msg(hs_fnv1a64("answer"), body, (uint32_t)length);
}

static int32_t hand_over(void)
{
	struct hs_conn server;
	struct headstart_reply_info reply;
	headstart_expect(1);
	hs_connect(&server, framed);
	hs_send(&server, 1, "one", 3);
	headstart_recv_rpc_reply((uint32_t)server.handle, 1, &reply);
	return -hs_transfer_conn(1, address, &server);
}

static int32_t take_over(void)
{
	struct hs_conn server, back;
	headstart_expect(2);
	headstart_deadline(5000);
	hs_connect(&server, framed);
	hs_transfer_conn(1, address, &server);
	hs_get_conn(&back, 2, framed);
	hs_send(&back, 1, "taken", 5);
	return -headstart_send_reply(hs_fnv1a64("said"), 1);
}

static char codes_bytes[256];
static struct hs_text codes;

static void tell(int32_t result)
{
	uint32_t code = result < 0 ? (uint32_t)-result : 0;
	if (codes.length)
		hs_put(&codes, ' ');
	if (code >= 10)
		hs_put(&codes, (char)('0' + code / 10));
	hs_put(&codes, (char)('0' + code % 10));
}

static int32_t fail(void)
{
	struct hs_conn store, none = { 99, "" };
	struct headstart_reply_info reply;
	codes = hs_text(codes_bytes, sizeof codes_bytes);
	headstart_expect(2);
	hs_connect(&store, "s3://inputs");
	uint32_t conn = (uint32_t)store.handle;
	tell(hs_send(&none, 1, "GET /x\n\n", 8));
	tell(headstart_recv_rpc_reply(99, 1, &reply));
	tell(headstart_recv_rpc_reply(conn, 1, &reply));
	tell(headstart_read_reply(1, 0, body, 8));
	tell(hs_send(&store, 2, body, sizeof body));
	tell(headstart_send_msg(2, body, sizeof body));
	for (int i = 0; i < 4101; i++)
		body[i] = 'x';
	tell(headstart_connect(body, 4101));
	tell(hs_transfer_conn(1, "s3://inputs", &none));
	tell(headstart_read_msg(1, 0, body, 8));
	hs_send(&store, 3, "GET /x\n\n", 8);
	tell(hs_send(&store, 3, "GET /y\n\n", 8));
	tell(headstart_recv_rpc_reply(conn, 3, &reply));
	tell(headstart_read_reply(3, 1000, body, 8));
	headstart_send_msg(hs_fnv1a64("empty"), "", 0);
	headstart_send_msg(hs_fnv1a64("empty"), "again", 5);
	headstart_deadline(30);
	tell(headstart_recv_msg(hs_fnv1a64("never")));
	tell(headstart_get_conn(1, "tcp://nowhere:1", 15));
	headstart_deadline(0);
	hs_transfer_conn(1, "s3://inputs", &store);
	tell(hs_send(&store, 4, "GET /x\n\n", 8));
	tell(hs_transfer_conn(2, "s3://inputs", &store));
	return -headstart_send_msg(hs_fnv1a64("errors"), codes.bytes, codes.length);
}

HEADSTART_MAIN
{
	int32_t length = hs_input(event, sizeof event);
	hs_json_text(event, (uint32_t)length, "mode", mode, sizeof mode);
	if (hs_json_text(event, (uint32_t)length, "address", address, sizeof address) > 0) {
		struct hs_text text = hs_text(framed, sizeof framed);
		hs_add(&text, address);
		hs_add(&text, "?frame=line");
	}
	if (is("fetch"))
		return fetch();
	if (is("place"))
		return place();
	if (is("echo"))
		return echo();
	if (is("hand over"))
		return hand_over();
	if (is("take over"))
		return take_over();
	if (is("fail"))
		return fail();
	if (is("exit")) {
		headstart_exit(3);
		hs_log("not reached");
	}
	if (is("many"))
		for (int i = 0; i < 10000; i++)
			headstart_expect_msg((uint64_t)i);
	if (is("too many"))
		for (int i = 0; i < 10001; i++)
			headstart_expect_msg((uint64_t)i);
	if (is("trap")) {
		hs_log("about to trap");
		__builtin_trap();
	}
	return 0;
}
