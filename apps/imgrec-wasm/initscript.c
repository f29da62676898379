/* Fetches the model and the photo that the event names, while the application's sandbox is being set up. */
#include "headstart.h"
#include "headstart_json.h"

static char event[4096];
static char bucket[64];
static char key[1024];

HEADSTART_MAIN
{
	struct hs_conn models, inputs;
	headstart_expect(2);
	hs_connect(&models, "s3://models");
	hs_s3_get(&models, "efficientnet-lite0.onnx", 0);

	int32_t length = hs_input(event, sizeof event);
	if (length < 0 || hs_json_text(event, (uint32_t)length, "key", key, sizeof key) < 0) {
		hs_log("the event names no photo");
		return 1;
	}
	char address[HS_ADDRESS_BYTES];
	struct hs_text text = hs_text(address, sizeof address);
	hs_add(&text, "s3://");
	hs_add(&text, hs_json_text(event, (uint32_t)length, "bucket", bucket, sizeof bucket) < 0 ? "inputs" : bucket);
	hs_connect(&inputs, address);
	hs_s3_get(&inputs, key, 0);
	return 0;
}
