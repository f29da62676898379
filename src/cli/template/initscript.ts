import { connect, s3Get } from "headstart";

// Runs while the application's sandbox starts. The reply is passed on to the application while it is still coming.
const inputs = connect("s3://inputs");
s3Get(inputs, "s3://inputs", "chelsea.png");
