/*
 * Fetches the photo and opens the connection to where its result is stored, while the application goes on from its snapshot, which
 * has all the rest. Input: {"key": "chelsea.bmp", "output": "http://host:port/…"}.
 */
#include "headstart.h"
#include "headstart_json.h"

static char event[4096];
static char key[1024];
static char output[2048];

/* Opens a connection to a URL's server, and hands it over under the name that the storage library asks by. */
static int hand_over(const char *url)
{
	struct hs_conn conn;
	char address[HS_ADDRESS_BYTES];
	struct hs_text text = hs_text(address, sizeof address);
	int port = 0;
	if (!hs_json_equal(url, "http://", 7))
		return 0;
	hs_add(&text, "tcp://");
	for (const char *at = url + 7; *at && *at != '/'; at++) {
		port = *at == ':' || (port && *at != ']'); /* "[::1]" has none */
		hs_put(&text, *at);
	}
	if (!port)
		hs_add(&text, ":80");
	hs_connect(&conn, address);
	return hs_transfer_conn(hs_fnv1a64_more(hs_fnv1a64("CONNECT "), address, text.length), address, &conn) >= 0;
}

HEADSTART_MAIN
{
	struct hs_conn inputs;
	headstart_expect(2); /* the photo, the connection */
	int32_t length = hs_input(event, sizeof event);
	if (length < 0 || hs_json_text(event, (uint32_t)length, "key", key, sizeof key) < 0) {
		hs_log("the event names no photo");
		return 1;
	}
	hs_connect(&inputs, "s3://inputs");
	if (hs_s3_get(&inputs, key, 0) < 0)
		return 2;
	if (hs_json_text(event, (uint32_t)length, "output", output, sizeof output) > 0 && !hand_over(output)) {
		hs_log("the output is no URL that a connection can be opened to");
		return 3;
	}
	return 0;
}
