// There is nothing to fetch: what such a script costs is what a function pays that gains nothing.
export function headstart_main(): i32 {
	return 0;
}
