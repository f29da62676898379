import { connect, expect, s3Get } from "headstart";

/** Runs while the application's sandbox starts. The reply is passed on to the application while it is still coming. */
export default function main(): void {
	expect(1);
	s3Get(connect("s3://inputs"), "chelsea.png");
}
