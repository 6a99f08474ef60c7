export const title = () => "search"; export async function look() { return {}; } export const draw = () => null;
