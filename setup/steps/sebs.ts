import { pythonLibraryFolder } from "../../src/cli/deploy/python.ts";
import { command } from "../command.ts";
import { root, Stamp } from "../stamp.ts";
import type { Step } from "../step.ts";

/** A folder of buckets, as headstart-store serves them. */
export const SEBS_STORE = ".headstart/sebs";
const STORE = `${SEBS_STORE}/sebs`;

const stamp = new Stamp(
	"sebs",
	["setup/sebs"],
	[
		`${STORE}/thumbnailer/input/photo.jpeg`,
		`${STORE}/video/input/clip.mp4`,
		`${STORE}/recognition/model/resnet50.pth`,
		`${STORE}/dna/input/bacterium.fasta`,
		`${STORE}/compression/input/documents`,
		`${STORE}/crud/shopping_cart`,
		`${STORE}/uploader/web/archive.tar.gz`,
	],
);

/** What the SeBS class functions read. Their packages come first (debian.ts). */
export const sebsInputs: Step = {
	name: "inputs of the SeBS class functions",
	cost: { downloadMb: 8, diskMb: 180, minutes: 0.5 },
	done: () => stamp.fresh(),
	async run() {
		const make = ["setup/sebs/inputs.py", "--out", SEBS_STORE];
		// Torchvision brings Debian's pillow with it; the other photo is made with the function's own.
		await command(this.name, "/usr/bin/python3", [...make, "image-recognition"]);
		const rest = ["thumbnailer", "video-processing", "dna-visualisation", "compression", "crud", "uploader"];
		const PYTHONPATH = await pythonLibraryFolder(`${root}/apps/sebs-thumbnailer`);
		await command(this.name, "/usr/bin/python3", [...make, ...rest], { env: { ...process.env, PYTHONPATH } });
		await stamp.set();
	},
};
