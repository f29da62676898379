/*
 * Fetches the snapshot that etcd is restored from, while its sandbox is being set up. Input: {"state": "s3://bucket/key"} has
 * the shim write it to a file; with "place": "file:/path" it is received in the file itself, where the restore reads it.
 */
#include "headstart.h"
#include "headstart_json.h"

static char event[2048];
static char state[1024];
static char place[256];

HEADSTART_MAIN
{
	struct hs_conn store;
	int32_t length = hs_input(event, sizeof event);
	if (length < 0 || hs_json_text(event, (uint32_t)length, "state", state, sizeof state) <= 0)
		return HEADSTART_INVALID_ARGUMENT;
	hs_json_text(event, (uint32_t)length, "place", place, sizeof place);
	uint32_t slash = 5; /* behind "s3://" */
	while (state[slash] && state[slash] != '/')
		slash++;
	if (!state[slash] || slash >= HS_ADDRESS_BYTES)
		return HEADSTART_INVALID_ARGUMENT;
	state[slash] = 0;
	hs_connect(&store, state);
	headstart_expect(1);
	const char *key = state + slash + 1;
	return place[0] ? -hs_s3_get_to(&store, key, place, 0, 0, 0) : -hs_s3_get(&store, key, 0);
}
