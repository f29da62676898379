/** What a metered module has beyond its author's: an import for more fuel, and its counter as an export. */
export const METER = "meter";
export const REFILL = "refill";
export const FUEL = "meter_fuel";
