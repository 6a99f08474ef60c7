export const title = () => "alerts"; export async function look() { return {}; } export const draw = () => null;
