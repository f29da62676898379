/* The probe's initscript in C. What it does is the event's "mode"; the objects are in the bucket "inputs". */
#include "headstart.h"
#include "headstart_json.h"

static char event[4096];
static char mode[32];
static char text[256];

static int is(const char *name)
{
	return hs_json_equal(mode, name, hs_length(mode)) && name[hs_length(mode)] == 0;
}

/* A function of its own, for its name in the stack. */
__attribute__((noinline)) static void give_up(void)
{
	hs_log("about to trap");
	__builtin_trap();
}

/* Sends a message of its own about an object that it read. */
static int32_t summarise(const struct hs_conn *inputs)
{
	uint64_t id;
	struct headstart_reply_info reply;
	headstart_expect(1);
	hs_get(inputs, "a", &id);
	int32_t result = headstart_recv_rpc_reply((uint32_t)inputs->handle, id, &reply);
	if (result < 0)
		return -result;
	struct hs_text summary = hs_text(text, sizeof text);
	hs_add(&summary, "read: ");
	int32_t length = headstart_read_reply(id, 0, text + summary.length, sizeof text - summary.length);
	return length < 0 ? -length : -headstart_send_msg(hs_fnv1a64("summary"), text, summary.length + (uint32_t)length);
}

HEADSTART_MAIN
{
	struct hs_conn inputs;
	uint64_t id;
	int32_t length = hs_input(event, sizeof event);
	hs_json_text(event, (uint32_t)length, "mode", mode, sizeof mode);
	if (is("trap at once"))
		__builtin_trap();
	hs_connect(&inputs, "s3://inputs");
	if (is("trap")) {
		hs_s3_get(&inputs, "a", 0);
		give_up();
	}
	if (is("summarise"))
		return summarise(&inputs);
	if (is("pass on")) {
		/* The reply is in flight, and the script is gone before it comes. */
		hs_get(&inputs, "a", &id);
		return -headstart_send_reply(hs_fnv1a64("passed on"), id);
	}
	if (is("announce and leave")) {
		headstart_expect(2);
		headstart_expect_msg(hs_fnv1a64("never"));
	}
	return 0;
}
