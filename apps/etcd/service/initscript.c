/*
 * Fetches the snapshot that etcd is restored from, while its sandbox is being set up. Input: {"state": "s3://bucket/key", "bytes":
 * n} has the shim write it to a file; with "place": "file:/path" it is received in the file itself, where the restore reads it.
 */
#include "headstart.h"
#include "headstart_json.h"

/* At one time: a connection each. */
#define RANGES 8

static char event[2048];
static char state[1024];
static char place[256];

HEADSTART_MAIN
{
	struct hs_conn store;
	const char *key;
	int32_t length = hs_input(event, sizeof event);
	if (length < 0 || hs_json_text(event, (uint32_t)length, "state", state, sizeof state) <= 0)
		return HEADSTART_INVALID_ARGUMENT;
	uint32_t bytes = hs_json_number(event, (uint32_t)length, "bytes");
	hs_json_text(event, (uint32_t)length, "place", place, sizeof place);
	if (hs_connect_url(&store, state, &key) < 0)
		return -store.handle;
	headstart_expect(RANGES + 1);
	return -hs_s3_get_ranges(&store, key, bytes, RANGES, place[0] ? place : 0);
}
