/* Every call of the API, as calls.as.ts and calls.ts make them: a test compares what the host sees. */
#include "headstart.h"
#include "headstart_json.h"

#define HUGE_ID 0xffffffffffffffffULL

static char event[256];
static char mode[32];
static char body[65536];

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
	hs_connect(&store, "s3://models");
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
	return (int32_t)reply.status;
}

HEADSTART_MAIN
{
	int32_t length = hs_input(event, sizeof event);
	hs_json_text(event, (uint32_t)length, "mode", mode, sizeof mode);
	if (is("fetch"))
		return fetch();
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
