/** UTF-16 units of a script's bundle. */
export const MAX_SOURCE = 1 << 20;
