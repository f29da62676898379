import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** Faults `bytes` of a fresh memfd in, as the bridge's pool does, and prints the CPU milliseconds that took. */
const PROBE = `
import mmap, os, resource, sys
size = int(sys.argv[1])
fd = os.memfd_create("prefault")
os.ftruncate(fd, size)
area = mmap.mmap(fd, size)
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
before = cpu()
area.madvise(23)  # MADV_POPULATE_WRITE
print((cpu() - before) * 1000)
`;

/** CPU milliseconds of prefaulting so many bytes of shared memory on this machine, in a process of its own. */
export async function prefaultCpuMs(bytes: number): Promise<number> {
	const { stdout } = await promisify(execFile)("python3", ["-c", PROBE, String(bytes)]);
	const ms = Number(stdout.trim());
	if (Number.isNaN(ms)) throw new Error(`the prefault probe wrote "${stdout}"`);
	return ms;
}
