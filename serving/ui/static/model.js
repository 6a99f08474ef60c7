export const title = () => "model"; export async function look() { return {}; } export const draw = () => null;
