/* Fetches one small object. */
#include "headstart.h"

HEADSTART_MAIN
{
	struct hs_conn inputs;
	headstart_expect(1);
	hs_connect(&inputs, "s3://inputs");
	hs_s3_get(&inputs, "small", 0);
	return 0;
}
