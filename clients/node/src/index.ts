/** headstart for applications in Node.js: see docs/clients.md. */
export { Client, type Conn, type ConnStatus, type Invocation, type Wait } from "./client.ts";
export { HeadstartError } from "./error.ts";
export { fnv1a64, type Id } from "./id.ts";
export { Reply } from "./reply.ts";
